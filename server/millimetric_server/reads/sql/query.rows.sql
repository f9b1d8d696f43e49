-- Which events did this project receive, newest first?
-- Parameters: project, limit, and those of %CONDITIONS%. %COLUMNS% are the fields of StoredEvent. Reads the sort key backwards from the page's end.
SELECT %COLUMNS%
FROM events
WHERE project_id = {project:String} AND %CONDITIONS%
ORDER BY timestamp DESC, event_id DESC, received_at DESC
LIMIT {limit:UInt32}
