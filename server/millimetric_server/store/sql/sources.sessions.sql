-- Where did visits come from? A visit belongs to the source of its first event, and to the time it began.
-- Parameters: project, limit, first_day, last_day, and those of %RANGE%. Reads the days of the sort key, beside them the
-- visits whose ids tell no day, and the few that have events elsewhere than their ids tell. FINAL adds the parts of a
-- visit up. `way` is the end of an entry, which begins with the source's length (schema/0004).
WITH toUInt16OrZero(substring(way, 1, 4)) AS source_bytes
SELECT
    %GROUPS%,
    sum(way_events) AS events_total,
    uniqCombined64ArrayMerge(14)(way_visitors) AS uniques,
    sum(way_paid) / sum(way_events) AS paid_share
FROM (
    SELECT
        substring(entry, position(entry, '\0') + 1) AS way,
        sum(events) AS way_events,
        sum(paid_events) AS way_paid,
        uniqCombined64ArrayState(14)(visitors) AS way_visitors
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
    GROUP BY way
)
GROUP BY %NAMES%
ORDER BY events_total DESC, %NAMES%
LIMIT {limit:UInt32}
