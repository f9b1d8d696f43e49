-- Which events does this project have, newest first, as a file shows them?
-- Parameters: project, and those of %CONDITIONS%. %COLUMNS% are those of StoredEvent, as the format writes them. Reads the sort key backwards.
SELECT
    %COLUMNS%
FROM events
WHERE project_id = {project:String} AND %CONDITIONS%
ORDER BY timestamp DESC, event_id DESC
SETTINGS prefer_column_name_to_alias = 1, log_comment = '%TAG%', max_execution_time = 0, max_threads = 2,
    output_format_json_escape_forward_slashes = 0, output_format_json_quote_64bit_integers = 0,
    output_format_csv_crlf_end_of_line = 1,
    output_format_parquet_compression_method = 'zstd', output_format_parquet_row_group_size = 50000,
    output_format_parquet_row_group_size_bytes = 33554432, output_format_parquet_string_as_string = 1,
    engine_file_truncate_on_insert = 1
