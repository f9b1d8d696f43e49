-- Joins each event to its visit: visit_id, which tells visits apart, the channel, the paths, and the visit's figures.
-- %SESSIONS% is visits.sessions, of all sessions that the events have, and of those that may be one visit with them.
LEFT ANY JOIN (
    WITH
        position(visit_entry, '\0') + 21 AS lengths,
        toUInt16OrZero(substring(visit_entry, lengths, 4)) AS source_bytes,
        toUInt16OrZero(substring(visit_entry, lengths + 4, 4)) AS medium_bytes,
        lengths + 8 + source_bytes + medium_bytes AS behind_channel,
        toUInt16OrZero(substring(visit_entry, behind_channel, 4)) AS campaign_bytes
    SELECT
        visit_session, visit_is_bot, visit_visitor, visit_events, visit_us,
        cityHash64(visit_entry) AS visit_id,
        substring(visit_entry, lengths + 8, source_bytes) AS session_source,
        substring(visit_entry, lengths + 8 + source_bytes, medium_bytes) AS session_medium,
        substring(visit_entry, behind_channel + 4, campaign_bytes) AS session_campaign,
        substring(visit_entry, behind_channel + 4 + campaign_bytes) AS landing_path,
        substring(visit_exit, position(visit_exit, '\0') + 1) AS exit_path
    FROM (
        SELECT
            session_hash AS visit_session,
            is_bot AS visit_is_bot,
            visitor AS visit_visitor,
            min(entry) OVER whole AS visit_entry,
            max(exit) OVER whole AS visit_exit,
            sum(events) OVER whole AS visit_events,
            max(ended) OVER whole - intDiv(min(began) OVER whole, 2) AS visit_us
        FROM (%SESSIONS%)
        WINDOW whole AS (PARTITION BY visitor, is_bot, visit)
    )
) AS visits ON session_hash = visit_session AND is_bot = visit_is_bot
