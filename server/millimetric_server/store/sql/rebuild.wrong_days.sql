-- Which of these days does the roll-up count otherwise than the events are?
-- Parameters: project, days. Reads the project's range of both tables.
SELECT DISTINCT toString(day)
FROM (
    SELECT
        toDate(timestamp, 'UTC') AS day, event, source, medium, campaign, country, device_type, browser, os, is_bot,
        count() AS wanted, 0 AS held
    FROM events
    WHERE project_id = {project:String} AND toString(toDate(timestamp, 'UTC')) IN {days:Array(String)}
    GROUP BY day, event, source, medium, campaign, country, device_type, browser, os, is_bot
    UNION ALL
    SELECT day, event, source, medium, campaign, country, device_type, browser, os, is_bot, 0, sum(events)
    FROM daily_rollup
    WHERE project_id = {project:String} AND toString(day) IN {days:Array(String)}
    GROUP BY day, event, source, medium, campaign, country, device_type, browser, os, is_bot
)
GROUP BY day, event, source, medium, campaign, country, device_type, browser, os, is_bot
HAVING sum(wanted) != sum(held)
