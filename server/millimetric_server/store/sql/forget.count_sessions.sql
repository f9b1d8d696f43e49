-- How many rows do these sessions have? Parameters: project, sessions. Reads the project's sessions by id.
SELECT count()
FROM (
    SELECT 1 FROM sessions WHERE project_id = {project:String} AND session_id IN {sessions:Array(String)}
    GROUP BY session_id, is_bot
)
