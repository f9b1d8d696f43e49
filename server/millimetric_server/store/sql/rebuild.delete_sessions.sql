-- Removes sessions before they are built again. Parameters: project, sessions.
DELETE FROM sessions WHERE project_id = {project:String} AND session_id IN {sessions:Array(String)}
