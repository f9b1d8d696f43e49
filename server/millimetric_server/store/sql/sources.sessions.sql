-- Where did visits come from? A visit belongs to the source of its first event, and to the time it began.
-- Parameters: project, limit, first_day, last_day, and those of %RANGE%. Reads the days of the sort key, beside them the
-- visits whose ids tell no day, and the few that have events elsewhere than their ids tell. FINAL adds the parts of a
-- visit up; where days are merged already, it costs little. It must see the whole entry: of a subcolumn, such as
-- entry.source, it takes any part's.
SELECT
    %GROUPS%,
    sum(events) AS events_total,
    uniqCombined64Array(14)(visitors) AS uniques,
    sum(paid_events) / sum(events) AS paid_share
FROM sessions FINAL
WHERE project_id = {project:String}
    AND (
        session_day BETWEEN {first_day:Date} AND {last_day:Date}
        OR session_day = toDate(0)
        OR (session_day, session_hash) IN (
            SELECT session_day, session_hash FROM sessions WHERE project_id = {project:String} AND is_stray = 1
        )
    )
    AND %BOTS% AND %RANGE%
GROUP BY %NAMES%
ORDER BY events_total DESC, %NAMES%
LIMIT {limit:UInt32}
SETTINGS optimize_functions_to_subcolumns = 0
