-- Which of these sessions differ from their events? Parameters: project, and those of %IDS%.
-- Reads the project's range of the events, and its sessions by their hashes.
SELECT DISTINCT session_id
FROM (
    SELECT session_id, is_bot, count() AS wanted, 0 AS held
    FROM events
    WHERE project_id = {project:String} AND session_id IN (SELECT id FROM %IDS%)
    GROUP BY session_id, is_bot
    UNION ALL
    SELECT session_id, is_bot, 0, sum(events)
    FROM sessions
    WHERE project_id = {project:String}
        AND session_hash IN (SELECT cityHash64(id) FROM %IDS%) AND session_id IN (SELECT id FROM %IDS%)
    GROUP BY session_id, is_bot
)
GROUP BY session_id, is_bot
HAVING sum(wanted) != sum(held)
