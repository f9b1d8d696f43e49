-- How many events does a project have, how many by its sessions, and how many sessions are there? Without sessions that
-- began before `since` (microseconds): the retention may have taken events of them. A session's row is read, not merged.
-- Parameters: project, since. Reads the project's ids of sessions in both tables.
WITH old AS (
    SELECT session_hash FROM sessions
    WHERE project_id = {project:String} AND started_at < fromUnixTimestamp64Micro({since:Int64})
)
SELECT
    (SELECT count() FROM events WHERE project_id = {project:String} AND session_hash NOT IN old) AS wanted,
    (SELECT sum(events) FROM sessions WHERE project_id = {project:String} AND session_hash NOT IN old) AS held,
    (SELECT count() FROM sessions WHERE project_id = {project:String} AND session_hash NOT IN old) AS rows
