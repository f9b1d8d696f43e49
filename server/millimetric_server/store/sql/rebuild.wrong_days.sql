-- For which of these days does a roll-up differ from the events?
-- Parameters: project, and those of %IDS%. Reads the project's days of both tables.
SELECT DISTINCT toString(toDate(%TIME%))
FROM (
    SELECT %FROM_TIMESTAMP% AS %TIME%, %DIMENSIONS%, count() AS wanted, 0 AS held
    FROM events
    WHERE project_id = {project:String} AND toDate(timestamp, 'UTC') IN (SELECT toDate(id) FROM %IDS%)
    GROUP BY %TIME%, %DIMENSIONS%
    UNION ALL
    SELECT %TIME%, %DIMENSIONS%, 0, sum(events)
    FROM %TABLE%
    WHERE project_id = {project:String} AND toDate(%TIME%) IN (SELECT toDate(id) FROM %IDS%)
    GROUP BY %TIME%, %DIMENSIONS%
)
GROUP BY %TIME%, %DIMENSIONS%
HAVING sum(wanted) != sum(held)
