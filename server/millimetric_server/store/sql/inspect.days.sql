-- Which UTC days have events, and how many? Reads the time columns of the events and of the roll-ups by day.
SELECT toString(day), sum(rows)
FROM (
    SELECT toDate(timestamp, 'UTC') AS day, count() AS rows FROM events GROUP BY day
    UNION ALL SELECT day, 0 FROM daily_rollup GROUP BY day
    UNION ALL SELECT toDate(hour), 0 FROM hourly_rollup GROUP BY 1
    UNION ALL SELECT day, 0 FROM source_rollup GROUP BY day
)
GROUP BY day
ORDER BY day
