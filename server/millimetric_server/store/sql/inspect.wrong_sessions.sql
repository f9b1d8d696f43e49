-- Which sessions of one slice count more or fewer events than there are, and how many? See inspect.sessions.
-- Parameters: project, since, slices, slice. Reads the project's ids of sessions in both tables.
WITH old AS (
    SELECT session_hash FROM sessions
    WHERE project_id = {project:String} AND began < 2 * {since:Int64}
)
SELECT session_id, is_bot, sum(wanted), sum(held)
FROM (
    SELECT session_id, is_bot, count() AS wanted, 0 AS held
    FROM events
    WHERE project_id = {project:String} AND session_hash % {slices:UInt32} = {slice:UInt32} AND session_hash NOT IN old
    GROUP BY session_id, is_bot
    UNION ALL
    SELECT session_id, is_bot, 0, sum(events)
    FROM sessions
    WHERE project_id = {project:String} AND session_hash % {slices:UInt32} = {slice:UInt32} AND session_hash NOT IN old
    GROUP BY session_id, is_bot
)
GROUP BY session_id, is_bot
HAVING sum(wanted) != sum(held)
