-- Which months hold events to run through another rule set, how many, and in how many groups?
-- Parameters: project, rule_set, before (microseconds), and those of %ROWS%. Reads the project's range of time.
SELECT toYYYYMM(timestamp) AS month, count() AS events, uniqCombined(url, referrer) AS event_groups
FROM events
WHERE %ROWS%
GROUP BY month
ORDER BY month
