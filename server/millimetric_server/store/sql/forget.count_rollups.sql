-- How many rows do these days and sessions have in the roll-ups?
-- Parameters: project, days, sessions. Reads the project's days, and its sessions by id.
SELECT
    (
        SELECT count() FROM (
            SELECT 1 FROM daily_rollup WHERE project_id = {project:String} AND toString(day) IN {days:Array(String)}
            GROUP BY day, event, source, medium, campaign, country, device_type, browser, os, is_bot
        )
    ) AS daily_rollup,
    (
        SELECT count() FROM (
            SELECT 1 FROM sessions WHERE project_id = {project:String} AND session_id IN {sessions:Array(String)}
            GROUP BY session_id, is_bot
        )
    ) AS sessions
