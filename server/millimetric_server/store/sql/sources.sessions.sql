-- Where did visits come from? A visit belongs to the source of its first event, and to the time it began.
-- Parameters: project, limit, and those of %BOTS% and %RANGE%. Reads the project's range of the sort key.
SELECT
    %GROUPS%,
    sum(session_events) AS events_total,
    uniqCombined64Merge(14)(session_visitors) AS uniques,
    sum(session_paid) / sum(session_events) AS paid_share
FROM (
    SELECT
        argMinMerge(entry_source) AS source,
        argMinMerge(entry_medium) AS medium,
        sum(events) AS session_events,
        sum(paid_events) AS session_paid,
        uniqCombined64MergeState(14)(visitors) AS session_visitors,
        min(started_at) AS began_at
    FROM sessions
    WHERE project_id = {project:String} AND %BOTS%
    GROUP BY session_id, is_bot
    HAVING %RANGE%
)
GROUP BY %GROUPS%
ORDER BY events_total DESC, %GROUPS%
LIMIT {limit:UInt32}
