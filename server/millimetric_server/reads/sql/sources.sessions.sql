-- Where did visits come from? A visit counts under its channel, the source and medium of its entry, and at the time when it
-- began.
-- Parameters: project, limit, the range in microseconds (from_us, to_us), the days that the range touches (first_day to
-- last_day), the days that it contains completely (first_whole_day to last_whole_day), and those of
-- %VISITS%.
-- Three kinds of rows are added up:
-- * Sessions whose entry is not internal begin visits. Complete days that lie in one part of the table are read from its
--   projection `channels`, by day instead of by session. Elsewhere a session's rows must be merged, or it may lie outside
--   the range: days in several parts, the range's incomplete days, sessions whose ids name no day, and strays. FINAL would
--   merge all rows, which takes many times as long.
-- * Visits with internal entries among their sessions (%VISITS%, visits.sessions.sql): they add what is beyond the first
--   session, which is counted above unless it is itself internal.
-- A channel begins with the lengths of source and medium (schema/0012). No PREWHERE: as in stats.rollup.
WITH
    toUInt16OrZero(substring(channel, 1, 4)) AS source_bytes,
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
    sumIf(channel_events, substring(channel, 9 + source_bytes) = 'paid') / events_total AS paid_share
FROM (
    SELECT
        %CHANNEL% AS channel,
        toInt64(sum(events)) AS channel_events,
        uniqCombined64ArrayState(14)(visitors) AS channel_visitors
    FROM sessions
    WHERE project_id = {project:String} AND session_day BETWEEN {first_whole_day:Date} AND {last_whole_day:Date}
        AND session_day NOT IN days_in_parts AND is_stray = 0 AND %BOTS%
    GROUP BY channel
    HAVING substring(channel, 9, toUInt16OrZero(substring(channel, 1, 4))) != 'internal'
    UNION ALL
    SELECT
        %CHANNEL% AS channel,
        toInt64(sum(session_events)),
        uniqCombined64ArrayState(14)(session_visitors)
    FROM (
        SELECT
            min(sessions.entry) AS entry,
            sum(events) AS session_events,
            groupArrayArray(visitors) AS session_visitors
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
        HAVING min(began) % 2 = 0 AND intDiv(min(began), 2) >= {from_us:UInt64} AND intDiv(min(began), 2) < {to_us:UInt64}
    )
    GROUP BY channel
    UNION ALL
    SELECT
        %CHANNEL% AS channel,
        toInt64(sum(visit_events)) - toInt64(sumIf(first_events, visit_began % 2 = 0)),
        uniqCombined64ArrayState(14)(visit_visitors)
    FROM (
        SELECT
            min(sessions.entry) AS entry,
            min(began) AS visit_began,
            sum(events) AS visit_events,
            argMin(events, sessions.entry) AS first_events,
            groupArrayArray(visitors) AS visit_visitors
        FROM (%VISITS%) AS sessions
        GROUP BY visitor, is_bot, visit
        HAVING intDiv(visit_began, 2) >= {from_us:UInt64} AND intDiv(visit_began, 2) < {to_us:UInt64}
            AND (visit_began % 2 = 1 OR count() > 1)
    )
    GROUP BY channel
)
GROUP BY %NAMES%
ORDER BY events_total DESC, %NAMES%
LIMIT {limit:UInt32}
SETTINGS optimize_move_to_prewhere = 0
