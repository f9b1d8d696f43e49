-- Which run of each server may write. The newest claim wins: its number counts the starts, followed by a space and the
-- run's name, which distinguishes two starts with the same number. Every insert reads it: docs/adr/0011.
CREATE TABLE server_fences
(
    server_id String,
    claim SimpleAggregateFunction(max, String),
    claimed_at SimpleAggregateFunction(max, DateTime('UTC')) DEFAULT now()
)
ENGINE = AggregatingMergeTree
ORDER BY server_id
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;
