-- Joins each visit to its visitor's first one, of those that are still stored. %CHOSEN% is a query for the hashes of
-- sessions: all of the visitors in question.
-- Parameters: project, and those of %CHOSEN%. Reads the project's sessions of all time.
LEFT ANY JOIN (
    WITH
        position(first_entry, '\0') + 21 AS lengths,
        toUInt16OrZero(substring(first_entry, lengths, 4)) AS source_bytes,
        toUInt16OrZero(substring(first_entry, lengths + 4, 4)) AS medium_bytes,
        lengths + 8 + source_bytes + medium_bytes AS behind_channel
    SELECT
        first_visitor, first_is_bot,
        substring(first_entry, lengths + 8, source_bytes) AS first_source,
        substring(first_entry, lengths + 8 + source_bytes, medium_bytes) AS first_medium,
        substring(
            first_entry, behind_channel + 4, toUInt16OrZero(substring(first_entry, behind_channel, 4))
        ) AS first_campaign
    FROM (
        SELECT first_visitor, first_is_bot, min(session_entry) AS first_entry
        FROM (
            SELECT
                is_bot AS first_is_bot,
                min(entry) AS session_entry,
                toUInt64(substring(session_entry, position(session_entry, '\0') + 1, 20)) AS first_visitor
            FROM sessions
            PREWHERE session_hash IN (%CHOSEN%)
            WHERE project_id = {project:String} AND %BOTS%
            GROUP BY session_hash, is_bot
        )
        GROUP BY first_visitor, first_is_bot
    )
) AS firsts ON visit_visitor = first_visitor AND visit_is_bot = first_is_bot
