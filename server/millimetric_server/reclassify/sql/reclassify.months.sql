-- Which months hold events to run through another rule set, how many, and how many different visits?
-- Parameters: project, rule_set, before (microseconds), and those of %ROWS%. Reads the project's range of time.
SELECT toYYYYMM(timestamp) AS month, count() AS events, uniqCombined(url, referrer) AS visits
FROM events
WHERE %ROWS%
GROUP BY month
ORDER BY month
