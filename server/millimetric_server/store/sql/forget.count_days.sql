-- How many rows do these days have in the roll-up? Parameters: project, days. Reads the project's days.
SELECT count()
FROM (
    SELECT 1 FROM daily_rollup WHERE project_id = {project:String} AND toString(day) IN {days:Array(String)}
    GROUP BY day, event, source, medium, campaign, country, device_type, browser, os, is_bot
)
