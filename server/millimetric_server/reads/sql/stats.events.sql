-- What do the events of each bucket and group come to? From the events themselves.
-- Parameters: project, timezone, limit, and those of %CONDITIONS%. %VISITS% joins them to their visits where that is asked
-- for. Reads the project's range of time in the sort key.
SELECT %GROUPS% %VALUES%
FROM events
%VISITS%
WHERE project_id = {project:String} AND %CONDITIONS%
%GROUP_BY%
%HAVING%
ORDER BY %ORDER%
LIMIT {limit:UInt32}
