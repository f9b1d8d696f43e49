-- How many events or visitors, by bucket and group? From the events themselves.
-- Parameters: project, timezone, limit, and those of %CONDITIONS%. Reads the project's range of time in the sort key.
SELECT %GROUPS% %VALUE% AS value
FROM events
WHERE project_id = {project:String} AND %CONDITIONS%
%GROUP_BY%
ORDER BY %ORDER%
LIMIT {limit:UInt32}
