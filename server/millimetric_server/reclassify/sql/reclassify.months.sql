-- Which months have events to reclassify, how many events, and in how many groups?
-- Parameters: project, rule_set, before (microseconds), and those of %ROWS%. Reads the project's range of time.
SELECT toYYYYMM(timestamp) AS month, count() AS events, uniqCombined(url, referrer) AS event_groups
FROM events
WHERE %ROWS%
GROUP BY month
ORDER BY month
