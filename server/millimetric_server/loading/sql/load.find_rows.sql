-- Which rows of a span are already stored? Parameters: project, and the bounds of the span's times (microseconds).
-- Reads the project's range of time, restricted to rows that were received within the span's bounds.
SELECT event_id, toUnixTimestamp64Micro(timestamp), toUnixTimestamp64Micro(received_at)
FROM events
WHERE project_id = {project:String}
    AND timestamp >= fromUnixTimestamp64Micro({timestamp_min:Int64})
    AND timestamp <= fromUnixTimestamp64Micro({timestamp_max:Int64})
    AND received_at >= fromUnixTimestamp64Micro({received_min:Int64})
    AND received_at <= fromUnixTimestamp64Micro({received_max:Int64})
