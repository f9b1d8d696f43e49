-- All sessions near the range, or of all time. Parameters: project, near_first, near_last.
SELECT session_hash
FROM sessions
WHERE project_id = {project:String} AND %TIME% AND %BOTS%
