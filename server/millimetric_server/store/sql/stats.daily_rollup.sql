-- How many events or visitors, by bucket and group? From the roll-up, for whole UTC days and its own columns.
-- Parameters: project, and those of %CONDITIONS%. Reads the project's range of days in the sort key.
SELECT %GROUPS% %VALUE% AS value
FROM daily_rollup
WHERE project_id = {project:String} AND %CONDITIONS%
%GROUP_BY%
ORDER BY %ORDER%
LIMIT {limit:UInt32}
