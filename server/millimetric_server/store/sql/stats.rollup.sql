-- How many events or visitors, by bucket and group? From the smallest roll-up that keeps what is asked.
-- Parameters: project, timezone, limit, and those of %CONDITIONS%. %TABLE% is of handlers/stats.py.
-- Reads the project's range of time in the sort key.
SELECT %GROUPS% %VALUE% AS value
FROM %TABLE%
WHERE project_id = {project:String} AND %CONDITIONS%
%GROUP_BY%
ORDER BY %ORDER%
LIMIT {limit:UInt32}
