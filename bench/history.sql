-- Sessions and their events of some projects, made from numbers: the same numbers make the same events.
-- Parameters: projects; first and count, the range of session numbers; total, all sessions of a project; begin and span,
-- where in time they lie (seconds). %COLUMNS%: those of EventRow.
--
-- Lengths    20 sessions in a row have 80 events, 1 to 8 each: so total / 20 * 80 is exactly what a project has.
-- Time       Sessions are in order of time, with a rhythm: the busiest hour of a day has four times the quietest one's.
-- Visitors   A quarter of the sessions are of somebody new. The others are of a regular, who came first up to 60 days
--            before, seldom long ago: about two sessions a visitor, and nine events.
-- Sources    By session, weighted: 30 % direct to 3 % ai; three of ten are campaigns with 20 names each. Pages after the
--            first come from the site itself.
-- Places     By visitor: 20 countries, the first about 30 %; four devices; 2 % are bots; 10 % are signed in.
-- Events     A session begins with a page, and each further event may be a step towards a purchase, or a page.
-- Ids        As long and as random as real ones. A session's id is derived from the half hour, as the server does it.
INSERT INTO events (%COLUMNS%)
SELECT %COLUMNS%
FROM (
    SELECT
        project_id,
        multiIf(
            step = 0, '$pageview',
            step = 1, multiIf(chance < 55, '$pageview', chance < 60, 'signup', 'product_view'),
            step = 2, if(chance < 50, 'product_view', 'search'),
            step = 3, if(chance < 50, 'add_to_cart', '$pageview'),
            step = 4, if(chance < 60, 'checkout', '$pageview'),
            step = 5, if(chance < 70, 'purchase', '$pageview'),
            '$pageview'
        ) AS event,
        toString(reinterpretAsUUID(MD5(concat(project_id, '/', toString(session), '/', toString(step))))) AS event_id,
        fromUnixTimestamp64Micro(
            toInt64({begin:Int64} * 1000000 + toInt64(began_s * 1e6) + step * (20 + session_hash % 60) * 1000000), 'UTC'
        ) AS timestamp,
        timestamp + toIntervalMillisecond(5 + event_hash % 500) AS received_at,
        toString(reinterpretAsUUID(MD5(concat(project_id, '/', toString(visitor_number))))) AS anonymous_id,
        if(visitor_hash % 10 = 0, concat('user-', toString(visitor_number)), '') AS user_id,
        concat(anonymous_id, '-', toString(intDiv(toUnixTimestamp(timestamp), 1800))) AS session_id,
        if(step = 0 AND campaign != '', concat('?utm_source=', source, '&utm_campaign=', campaign), '') AS tags,
        concat('https://shop.example.com', path, tags) AS url,
        concat(
            ['/', '/pricing', '/blog/', '/docs/', '/cart', '/checkout'][1 + event_hash % 6],
            if(event_hash % 6 IN (2, 3), toString(event_hash % 2000), '')
        ) AS path,
        multiIf(step != 0, 'https://shop.example.com/', source = 'direct', '', concat('https://', source, '.example/'))
            AS referrer,
        multiIf(
            event = 'purchase', concat(
                '{"value":', toString(10 + event_hash % 200), '.5,"currency":"EUR","items":', toString(1 + event_hash % 4),
                ',"plan":"pro"}'
            ),
            event = 'product_view', concat(
                '{"product_id":"p-', toString(event_hash % 5000), '","price":', toString(event_hash % 300), '}'
            ),
            event = 'search', concat('{"query":"term ', toString(event_hash % 10000), '"}'),
            '{}'
        ) AS properties,
        if(step != 0, 'internal', [
            'direct', 'google', 'facebook', 'google', 'newsletter', 'bing', 'facebook', 'tiktok', 'linkedin', 'chatgpt'
        ][entry]) AS source,
        if(step != 0, 'internal', [
            'direct', 'organic', 'social', 'paid', 'email', 'organic', 'paid', 'social', 'social', 'ai'
        ][entry]) AS medium,
        if(step = 0 AND entry IN (4, 5, 7), concat('campaign-', toString(session_hash % 20)), '') AS campaign,
        'high' AS source_confidence,
        'utm.tagged' AS source_rule_id,
        'standard-1' AS rule_set,
        [
            'DE', 'US', 'GB', 'FR', 'AT', 'CH', 'NL', 'ES', 'IT', 'PL',
            'SE', 'DK', 'NO', 'BR', 'IN', 'JP', 'CA', 'AU', 'MX', 'BE'
        ][1 + toUInt8(floor(20 * pow(visitor_hash % 1000 / 1000, 2.5)))] AS country,
        ['desktop', 'mobile', 'mobile', 'tablet'][1 + visitor_hash % 4] AS device_type,
        ['chrome', 'safari', 'chrome', 'safari'][1 + visitor_hash % 4] AS browser,
        ['windows', 'ios', 'android', 'ipados'][1 + visitor_hash % 4] AS os,
        intDiv(visitor_hash, 1000) % 50 = 0 AS is_bot,
        lower(hex(MD5(concat(anonymous_id, toString(toDate(timestamp)))))) AS ip_hash,
        365 AS retention_days
    FROM (
        SELECT
            project_id, session, session_hash, visitor_number, entry, began_s, step,
            cityHash64(project_id, visitor_number, 'visitor') AS visitor_hash,
            cityHash64(project_id, session, step) AS event_hash,
            intDiv(event_hash, 7) % 100 AS chance
        FROM (
            SELECT
                arrayJoin({projects:Array(String)}) AS project_id,
                number AS session,
                cityHash64(project_id, session) AS session_hash,
                {span:UInt32} * session / {total:UInt64} AS even_s,
                even_s + 86400 / (2 * pi()) * 0.6 * sin(2 * pi() * even_s / 86400) + session_hash % 600000000 / 1e6
                    AS began_s,
                cityHash64(session_hash, 'visitor') AS choice,
                toInt64(session) - toInt64({total:UInt64} / 2 * pow(intDiv(choice, 100) % 10000 / 10000, 3)) AS earlier,
                if(choice % 100 < 25 OR earlier < 0, toInt64(session), intDiv(earlier, 5) * 5) AS visitor_number,
                arrayFirstIndex(edge -> session_hash % 100 < edge, [30, 52, 61, 71, 78, 83, 89, 93, 97, 100]) AS entry,
                [1, 4, 2, 7, 3, 8, 2, 5, 1, 6, 3, 8, 2, 4, 6, 1, 7, 2, 5, 3][1 + session % 20] AS length
            FROM numbers({first:UInt64}, {count:UInt64})
        )
        ARRAY JOIN range(length) AS step
    )
)
