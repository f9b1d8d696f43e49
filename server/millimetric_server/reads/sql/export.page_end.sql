-- Where does the next page of an export end? After rows_max rows, or at the row that reaches bytes_max.
-- Parameters: project, rows_max, bytes_max, and those of %CONDITIONS%. %TEXT_BYTES% is the length of a row's texts.
-- Reads the sort key backwards from the last end.
SELECT
    countIf(size_before < {bytes_max:UInt64}) AS rows,
    toUnixTimestamp64Micro(tupleElement(minIf((timestamp, event_id), size_before < {bytes_max:UInt64}) AS page_end, 1)),
    tupleElement(page_end, 2),
    count() < {rows_max:UInt32} AND count() = rows
FROM
(
    SELECT
        timestamp, event_id,
        sum(row_size) OVER (ORDER BY timestamp DESC, event_id DESC ROWS UNBOUNDED PRECEDING) - row_size AS size_before
    FROM
    (
        SELECT
            timestamp, event_id,
            %TEXT_BYTES% + 100 AS row_size
        FROM events
        WHERE project_id = {project:String} AND %CONDITIONS%
        ORDER BY timestamp DESC, event_id DESC
        LIMIT {rows_max:UInt32}
    )
)
SETTINGS log_comment = '%TAG%', max_execution_time = 0, max_threads = 2
