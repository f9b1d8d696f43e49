-- How many events does a project have, how many do its sessions count, and how many sessions are there? Sessions that
-- began before `since` (microseconds) are left out: the retention may have removed some of their events. Rows of sessions
-- are read unmerged.
-- Parameters: project, since. Reads the project's ids of sessions in both tables.
WITH old AS (
    SELECT session_hash FROM sessions
    WHERE project_id = {project:String} AND began < 2 * {since:Int64}
)
SELECT
    (SELECT count() FROM events WHERE project_id = {project:String} AND session_hash NOT IN old) AS wanted,
    (SELECT sum(events) FROM sessions WHERE project_id = {project:String} AND session_hash NOT IN old) AS held,
    (SELECT count() FROM sessions WHERE project_id = {project:String} AND session_hash NOT IN old) AS rows
