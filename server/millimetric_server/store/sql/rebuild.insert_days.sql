-- Builds days of a roll-up from the events: the same SELECT as its view, for some days.
-- Parameters: project, and those of %IDS%. Reads the project's days of the sort key.
INSERT INTO %TABLE%
SELECT
    project_id, %FROM_TIMESTAMP% AS %TIME%, %DIMENSIONS%,
    count() AS events,
    uniqCombined64State(14)(visitor) AS visitors,
    max(retention_days) AS retention_days
FROM events
WHERE %FENCE% AND project_id = {project:String} AND toDate(timestamp, 'UTC') IN (SELECT toDate(id) FROM %IDS%)
GROUP BY project_id, %TIME%, %DIMENSIONS%
