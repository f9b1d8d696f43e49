-- Builds sessions from the events: the same SELECT as sessions_view, for some sessions.
-- Parameters: project, and those of %IDS%. Reads the project's range of the sort key.
INSERT INTO sessions
SELECT
    project_id, session_day, session_hash, is_bot,
    any(session_id) AS session_id,
    min(session_began) AS began,
    max(timestamp) AS ended_at,
    min(session_entry) AS entry,
    max(session_exit) AS exit,
    count() AS events,
    groupUniqArray(visitor) AS visitors,
    groupUniqArray(hour) AS hours,
    max(session_day != toDate(0) AND toDate(timestamp, 'UTC') != session_day) AS is_stray,
    max(retention_days) AS retention_days
FROM events
WHERE %FENCE% AND project_id = {project:String} AND events.session_id IN (SELECT id FROM %IDS%)
GROUP BY project_id, session_day, session_hash, is_bot
