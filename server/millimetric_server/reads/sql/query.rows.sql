-- Which events did this project receive, newest first?
-- Parameters: project, limit, and those of %CONDITIONS%. Reads the sort key backwards from the page's end.
SELECT
    event, event_id, toUnixTimestamp64Micro(timestamp) AS timestamp_us, anonymous_id, user_id, session_id, url, path, referrer,
    properties, toUnixTimestamp64Micro(received_at) AS received_us, source, medium, campaign, source_confidence, source_rule_id,
    rule_set, country, device_type, browser, os, is_bot, ip_hash
FROM events
WHERE project_id = {project:String} AND %CONDITIONS%
ORDER BY timestamp DESC, event_id DESC, received_at DESC
LIMIT {limit:UInt32}
