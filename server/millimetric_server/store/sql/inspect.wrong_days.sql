-- On which days do the events and the three time-based roll-ups have different counts, and which?
-- Parameters: projects, first_day, last_day. Reads these days of the sort keys, and one more column of the roll-ups.
SELECT project_id, toString(day), sum(e) AS events, sum(d) AS daily, sum(h) AS hourly, sum(s) AS source
FROM (
    SELECT project_id, toDate(timestamp, 'UTC') AS day, count() AS e, 0 AS d, 0 AS h, 0 AS s
    FROM events
    WHERE project_id IN {projects:Array(String)} AND timestamp >= toDateTime64({first_day:Date}, 6, 'UTC')
        AND timestamp < toDateTime64({last_day:Date} + 1, 6, 'UTC')
    GROUP BY project_id, day
    UNION ALL
    SELECT project_id, day, 0, sum(events), 0, 0
    FROM daily_rollup
    WHERE project_id IN {projects:Array(String)} AND day BETWEEN {first_day:Date} AND {last_day:Date}
    GROUP BY project_id, day
    UNION ALL
    SELECT project_id, toDate(hour), 0, 0, sum(events), 0
    FROM hourly_rollup
    WHERE project_id IN {projects:Array(String)} AND hour >= toDateTime({first_day:Date}, 'UTC')
        AND hour < toDateTime({last_day:Date} + 1, 'UTC')
    GROUP BY project_id, toDate(hour)
    UNION ALL
    SELECT project_id, day, 0, 0, 0, sum(events)
    FROM source_rollup
    WHERE project_id IN {projects:Array(String)} AND day BETWEEN {first_day:Date} AND {last_day:Date}
    GROUP BY project_id, day
)
GROUP BY project_id, day
HAVING events != daily OR events != hourly OR events != source
ORDER BY project_id, day
