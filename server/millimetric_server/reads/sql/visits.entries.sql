-- Joins each event to its visit's entry: visit_id, which tells visits apart, the channel and the landing path. Where only
-- these are asked for, sessions that begin a visit need no look at others: only those that begin internal do.
-- Parameters: project, near_first, near_last, and those of %MATCHED%, a condition for the events' sessions. %SESSIONS% is
-- visits.sessions of the visitors of those that begin internal.
LEFT ANY JOIN (
    WITH
        position(visit_entry, '\0') + 21 AS lengths,
        toUInt16OrZero(substring(visit_entry, lengths, 4)) AS source_bytes,
        toUInt16OrZero(substring(visit_entry, lengths + 4, 4)) AS medium_bytes,
        lengths + 8 + source_bytes + medium_bytes AS behind_channel,
        toUInt16OrZero(substring(visit_entry, behind_channel, 4)) AS campaign_bytes
    SELECT
        visit_session, visit_is_bot,
        toUInt64(substring(visit_entry, lengths - 20, 20)) AS visit_visitor,
        cityHash64(visit_entry) AS visit_id,
        substring(visit_entry, lengths + 8, source_bytes) AS session_source,
        substring(visit_entry, lengths + 8 + source_bytes, medium_bytes) AS session_medium,
        substring(visit_entry, behind_channel + 4, campaign_bytes) AS session_campaign,
        substring(visit_entry, behind_channel + 4 + campaign_bytes) AS landing_path
    FROM (
        SELECT session_hash AS visit_session, is_bot AS visit_is_bot, min(entry) AS visit_entry
        FROM sessions
        PREWHERE %MATCHED%
        WHERE project_id = {project:String} AND %NEAR% AND %BOTS%
        GROUP BY session_hash, is_bot
        HAVING min(began) % 2 = 0
        UNION ALL
        SELECT visit_session, visit_is_bot, visit_entry
        FROM (
            SELECT
                session_hash AS visit_session, is_bot AS visit_is_bot, began,
                min(entry) OVER (PARTITION BY visitor, is_bot, visit) AS visit_entry
            FROM (%SESSIONS%)
        )
        WHERE began % 2 = 1
    )
) AS visits ON session_hash = visit_session AND is_bot = visit_is_bot
