-- What did each channel bring? Each conversion is a credit of 2^30 parts, which a model gives to the touches before it:
-- whole parts, the rest of a division to the last touch, so that the parts of all rows add up exactly.
-- Parameters: project, lookback_us, and those of %CONVERSIONS% and %SESSIONS%: visits.sessions, of all visitors who
-- converted. A conversion's visits are those of its session's visitor. Without any, it is a touch of direct itself.
-- Reads the project's range of time in the events, and its sessions of the range and the time before.
SELECT %KEYS%, count() AS touch_count, %FIGURES%
FROM (
    SELECT
        at, amount, touches, length(touches) AS touch_total, greatest(touch_total, 3) - 2 AS middle_total,
        arrayLastIndex(touch -> touch.source != 'direct', touches) AS last_non_direct_place,
        arrayMap(touch -> exp2((toInt64(touch.began) - at) / 604800000000), touches) AS weights,
        arraySum(weights) AS weight_total,
        arrayMap(weight -> toUInt64(floor(1073741824 * weight / weight_total)), weights) AS decayed
    FROM (
        SELECT
            toUnixTimestamp64Micro(timestamp) AS at,
            %AMOUNT% AS amount,
            arrayFilter(touch -> touch.began <= at AND touch.began + {lookback_us:UInt64} >= at, visitor_touches) AS found,
            if(
                empty(found),
                [CAST(
                    (toUInt64(at), 'direct', 'direct', '', ''),
                    'Tuple(began UInt64, source String, medium String, campaign String, landing_path String)'
                )],
                found
            ) AS touches
        FROM events
        LEFT ANY JOIN (
            SELECT session_hash AS visit_session, is_bot AS visit_is_bot, visitor_touches
            FROM (
                WITH
                    position(entry, '\0') + 21 AS lengths,
                    toUInt16OrZero(substring(entry, lengths, 4)) AS source_bytes,
                    toUInt16OrZero(substring(entry, lengths + 4, 4)) AS medium_bytes,
                    lengths + 8 + source_bytes + medium_bytes AS behind_channel,
                    toUInt16OrZero(substring(entry, behind_channel, 4)) AS campaign_bytes,
                    substring(entry, lengths + 8, source_bytes) AS entry_source,
                    entry_source IN ('direct', 'internal') AS is_direct
                SELECT
                    is_bot,
                    groupArray(session_hash) AS session_hashes,
                    groupArrayIf(
                        (
                            entry,
                            CAST(
                                (
                                    intDiv(began, 2),
                                    if(is_direct, 'direct', entry_source),
                                    if(is_direct, 'direct', substring(entry, lengths + 8 + source_bytes, medium_bytes)),
                                    substring(entry, behind_channel + 4, campaign_bytes),
                                    substring(entry, behind_channel + 4 + campaign_bytes)
                                ),
                                'Tuple(began UInt64, source String, medium String, campaign String, landing_path String)'
                            )
                        ),
                        is_first
                    ) AS unsorted,
                    arrayMap(one -> one.2, arraySort(one -> one.1, unsorted)) AS visitor_touches
                FROM (%SESSIONS%)
                GROUP BY visitor, is_bot
            )
            ARRAY JOIN session_hashes AS session_hash
        ) AS visits ON session_hash = visit_session AND is_bot = visit_is_bot
        WHERE project_id = {project:String} AND %CONVERSIONS%
    )
)
ARRAY JOIN touches AS touch, arrayEnumerate(touches) AS place, decayed AS decayed_parts
GROUP BY %NAMES%
ORDER BY %NAMES%
