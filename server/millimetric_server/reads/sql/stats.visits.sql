-- How many visits were there in each bucket and of each channel, how many were a single event, and how long were they? A
-- visit is in every bucket in which it has an event. From the sessions alone, for whole days of UTC.
-- Parameters: project, limit, first_day, last_day (inclusive), near_first, near_last, from_us.
-- Three kinds of rows are added up, as in sources.sessions:
-- * Sessions whose entry is not internal: days that lie in one part of the table from its projection `channels`,
-- * others merged by session: days in several parts, sessions whose ids name no day, and strays.
-- * Visits with internal entries among their sessions (%VISITS%): as a whole, less their first session, which is counted
--   above unless it is itself internal.
WITH
    toUInt16OrZero(substring(channel, 1, 4)) AS source_bytes,
    days_in_parts AS (
        SELECT session_day
        FROM sessions
        WHERE project_id = {project:String} AND session_day BETWEEN {first_day:Date} AND {last_day:Date}
        GROUP BY session_day
        HAVING min(_part_index) != max(_part_index)
    )
SELECT %GROUPS% %VALUES%
FROM (
    SELECT
        %BUCKET_OF_DAY% AS visit_bucket,
        %CHANNEL% AS channel,
        toInt64(count()) AS visits,
        toInt64(countIf(events = 1)) AS bounces,
        toInt64(sum(events)) AS visit_events,
        toInt64(sum(toUnixTimestamp64Micro(ended_at) - intDiv(began, 2))) AS visit_us
    FROM sessions
    WHERE project_id = {project:String} AND session_day BETWEEN {first_day:Date} AND {last_day:Date}
        AND session_day NOT IN days_in_parts AND is_stray = 0 AND %BOTS%
    GROUP BY session_day, channel
    HAVING substring(channel, 9, toUInt16OrZero(substring(channel, 1, 4))) != 'internal'
    UNION ALL
    SELECT
        visit_bucket,
        %CHANNEL% AS channel,
        1, toInt64(session_events = 1), toInt64(session_events), session_us
    FROM (
        SELECT
            min(sessions.entry) AS entry,
            sum(sessions.events) AS session_events,
            toInt64(toUnixTimestamp64Micro(max(ended_at))) - toInt64(intDiv(min(began), 2)) AS session_us,
            arrayDistinct(arrayMap(
                day -> %BUCKET%,
                arrayFilter(
                    day -> day BETWEEN {first_day:Date} AND {last_day:Date},
                    arrayMap(hour -> toDate(toUInt16(intDiv(hour, 24))), groupUniqArrayArray(hours))
                )
            )) AS buckets
        FROM sessions
        WHERE project_id = {project:String} AND %BOTS%
            AND (
                session_day IN days_in_parts
                OR session_day = toDate(0)
                OR (session_day, session_hash, is_bot) IN (
                    SELECT session_day, session_hash, is_bot
                    FROM sessions
                    WHERE project_id = {project:String} AND is_stray = 1
                )
            )
        GROUP BY session_hash, is_bot
        HAVING min(began) % 2 = 0
    )
    ARRAY JOIN buckets AS visit_bucket
    UNION ALL
    SELECT
        step.1,
        %CHANNEL% AS channel,
        step.2, step.3, step.4, step.5
    FROM (
        SELECT
            min(sessions.entry) AS entry,
            min(sessions.began) AS visit_began,
            toInt64(sum(events)) AS all_events,
            toInt64(max(ended)) - toInt64(intDiv(visit_began, 2)) AS all_us,
            toInt64(argMin(events, sessions.entry)) AS first_events,
            toInt64(argMin(ended, sessions.entry)) - toInt64(intDiv(visit_began, 2)) AS first_us,
            arrayFilter(
                day -> day BETWEEN {first_day:Date} AND {last_day:Date},
                arrayMap(hour -> toDate(toUInt16(intDiv(hour, 24))), groupUniqArrayArray(hours))
            ) AS all_days,
            arrayFilter(
                day -> visit_began % 2 = 0 AND day BETWEEN {first_day:Date} AND {last_day:Date},
                arrayMap(hour -> toDate(toUInt16(intDiv(hour, 24))), argMin(hours, sessions.entry))
            ) AS first_days,
            arrayConcat(
                arrayMap(
                    one -> (one, toInt64(1), toInt64(all_events = 1), all_events, all_us),
                    arrayDistinct(arrayMap(day -> %BUCKET%, all_days))
                ),
                arrayMap(
                    one -> (one, toInt64(-1), -toInt64(first_events = 1), -first_events, -first_us),
                    arrayDistinct(arrayMap(day -> %BUCKET%, first_days))
                )
            ) AS steps
        FROM (%VISITS%) AS sessions
        GROUP BY visitor, is_bot, visit
        HAVING visit_began % 2 = 1 OR count() > 1
    )
    ARRAY JOIN steps AS step
)
%GROUP_BY%
%HAVING%
ORDER BY %ORDER%
LIMIT {limit:UInt32}
SETTINGS optimize_move_to_prewhere = 0
