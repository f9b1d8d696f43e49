-- Where did visits come from? A visit counts under its entry channel, the source and medium of its first event, and at the
-- time when it began.
-- Parameters: project, limit, the days that the range touches (first_day to last_day), the days that it contains
-- completely (first_whole_day to last_whole_day), and those of %BEGAN%.
-- Complete days that lie in one part of the table are read from its projection (`ways`, the schema's older word for entry
-- channels), by day instead of by visit. Elsewhere a visit's rows must be merged, or it may lie outside the range: days in
-- several parts, the range's incomplete days, visits whose ids name no day, and strays. FINAL would merge all rows, which
-- takes many times as long. An entry channel begins with the source's length (schema/0004). No PREWHERE: as in
-- stats.rollup.
WITH
    toUInt16OrZero(substring(entry_channel, 1, 4)) AS source_bytes,
    days_in_parts AS (
        SELECT session_day
        FROM sessions
        WHERE project_id = {project:String} AND session_day BETWEEN {first_day:Date} AND {last_day:Date}
        GROUP BY session_day
        HAVING min(_part_index) != max(_part_index)
    )
SELECT
    %GROUPS%,
    sum(channel_events) AS events_total,
    uniqCombined64ArrayMerge(14)(channel_visitors) AS uniques,
    sum(channel_paid_events) / sum(channel_events) AS paid_share
FROM (
    SELECT
        substring(entry, position(entry, '\0') + 1) AS entry_channel,
        sum(events) AS channel_events,
        sum(paid_events) AS channel_paid_events,
        uniqCombined64ArrayState(14)(visitors) AS channel_visitors
    FROM sessions
    WHERE project_id = {project:String} AND session_day BETWEEN {first_whole_day:Date} AND {last_whole_day:Date}
        AND session_day NOT IN days_in_parts AND is_stray = 0 AND %BOTS%
    GROUP BY entry_channel
    UNION ALL
    SELECT
        substring(visit_entry, position(visit_entry, '\0') + 1) AS entry_channel,
        sum(visit_events),
        sum(visit_paid),
        uniqCombined64ArrayState(14)(visit_visitors)
    FROM (
        SELECT
            min(entry) AS visit_entry,
            sum(events) AS visit_events,
            sum(paid_events) AS visit_paid,
            groupArrayArray(visitors) AS visit_visitors
        FROM sessions
        WHERE project_id = {project:String} AND %BOTS%
            AND (
                (
                    session_day BETWEEN {first_day:Date} AND {last_day:Date}
                    AND (
                        session_day NOT BETWEEN {first_whole_day:Date} AND {last_whole_day:Date}
                        OR session_day IN days_in_parts
                    )
                )
                OR session_day = toDate(0)
                OR (session_day, session_hash, is_bot) IN (
                    SELECT session_day, session_hash, is_bot
                    FROM sessions
                    WHERE project_id = {project:String} AND is_stray = 1
                )
            )
        GROUP BY session_hash, is_bot
        HAVING %BEGAN%
    )
    GROUP BY entry_channel
)
GROUP BY %NAMES%
ORDER BY events_total DESC, %NAMES%
LIMIT {limit:UInt32}
SETTINGS optimize_move_to_prewhere = 0
