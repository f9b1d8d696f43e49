-- Which projects have rows, and what is the shortest retention of any of them?
-- Reads two columns of all five tables.
SELECT project_id, min(days)
FROM (
    SELECT project_id, min(retention_days) AS days FROM events GROUP BY project_id
    UNION ALL SELECT project_id, min(retention_days) FROM daily_rollup GROUP BY project_id
    UNION ALL SELECT project_id, min(retention_days) FROM hourly_rollup GROUP BY project_id
    UNION ALL SELECT project_id, min(retention_days) FROM source_rollup GROUP BY project_id
    UNION ALL SELECT project_id, min(retention_days) FROM sessions GROUP BY project_id
)
GROUP BY project_id
ORDER BY project_id
