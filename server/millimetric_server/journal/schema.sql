-- Accepted events that ClickHouse does not hold yet: the rows of one commit, as a msgpack array of EventRow.
CREATE TABLE IF NOT EXISTS entries (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    row_count INTEGER NOT NULL,
    rows BLOB NOT NULL
);

-- How far the loader is. `inflight` is the last entry of a block that may or may not have reached ClickHouse:
-- after a crash the very same block is sent again, under the same deduplication token.
CREATE TABLE IF NOT EXISTS loader_position (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    loaded INTEGER NOT NULL,
    inflight INTEGER NOT NULL,
    journal_id TEXT NOT NULL
);

-- Every event id of the idempotency window as a key of 25 bytes, with what its first answer said. Rows stand in
-- the order of receipt; a small index beside them costs a third of a table that is sorted by random ids.
CREATE TABLE IF NOT EXISTS seen (
    key BLOB NOT NULL,
    received_at INTEGER NOT NULL,
    content BLOB NOT NULL,
    anonymous_id TEXT NOT NULL,
    session_id TEXT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS seen_key ON seen (key);

-- People to forget. A person stays here afterwards, so that late replays do not come back.
CREATE TABLE IF NOT EXISTS erasures (
    erasure_id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    anonymous_id TEXT NOT NULL,
    state TEXT NOT NULL,
    requested_at INTEGER NOT NULL,
    completed_at INTEGER,
    plan TEXT NOT NULL DEFAULT '{}',
    rows_removed TEXT NOT NULL DEFAULT '{}',
    residual INTEGER NOT NULL DEFAULT 0
);

PRAGMA user_version = 1;
