-- Removes sessions before they are rebuilt. Parameters: project, and those of %IDS%. Finds them by their hashes.
DELETE FROM sessions
WHERE project_id = {project:String}
    AND session_hash IN (SELECT cityHash64(id) FROM %IDS%) AND session_id IN (SELECT id FROM %IDS%)
