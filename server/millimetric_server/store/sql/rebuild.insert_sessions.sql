-- Builds sessions from the events: the same SELECT as sessions_view, for some sessions.
-- Parameters: project, sessions. Reads the project's range of the sort key.
INSERT INTO sessions
SELECT
    project_id, session_id, is_bot,
    min(timestamp) AS started_at,
    max(timestamp) AS ended_at,
    argMinState(toString(source), (timestamp, event_id)) AS entry_source,
    argMinState(toString(medium), (timestamp, event_id)) AS entry_medium,
    argMinState(campaign, (timestamp, event_id)) AS entry_campaign,
    count() AS events,
    countIf(medium = 'paid') AS paid_events,
    uniqCombined64State(14)(anonymous_id) AS visitors,
    max(retention_days) AS retention_days
FROM events
WHERE project_id = {project:String} AND session_id IN {sessions:Array(String)}
GROUP BY project_id, session_id, is_bot
