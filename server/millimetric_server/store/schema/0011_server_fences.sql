-- Which start of each server may write. The newest claim wins: its number counts the starts, and behind a space stands
-- a name of the run, so that two starts with the same number are told apart. Read by every insert: docs/adr/0011.
CREATE TABLE server_fences
(
    server_id String,
    claim SimpleAggregateFunction(max, String),
    claimed_at SimpleAggregateFunction(max, DateTime('UTC')) DEFAULT now()
)
ENGINE = AggregatingMergeTree
ORDER BY server_id
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;
