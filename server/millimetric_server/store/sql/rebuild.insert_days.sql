-- Builds days of the roll-up from the events: the same SELECT as daily_rollup_view, for some days.
-- Parameters: project, days. Reads the project's range of the sort key.
INSERT INTO daily_rollup
SELECT
    project_id, toDate(timestamp, 'UTC') AS day, event, source, medium, campaign, country, device_type, browser, os, is_bot,
    count() AS events,
    uniqCombined64State(14)(anonymous_id) AS visitors,
    max(retention_days) AS retention_days
FROM events
WHERE project_id = {project:String} AND toString(toDate(timestamp, 'UTC')) IN {days:Array(String)}
GROUP BY project_id, day, event, source, medium, campaign, country, device_type, browser, os, is_bot
