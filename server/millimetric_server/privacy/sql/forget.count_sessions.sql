-- How many rows do these sessions have? Parameters: project, and those of %IDS%. Finds them by their hashes.
SELECT count()
FROM (
    SELECT 1 FROM sessions
    WHERE project_id = {project:String}
        AND session_hash IN (SELECT cityHash64(id) FROM %IDS%) AND session_id IN (SELECT id FROM %IDS%)
    GROUP BY session_id, is_bot
)
