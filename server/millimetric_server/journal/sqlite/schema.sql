-- Accepted events that ClickHouse does not hold yet. An entry has rows of one project, as one call or several calls of
-- the same commit brought them: the msgpack values of all their fields, row after row (see packed_rows.py).
CREATE TABLE IF NOT EXISTS entries (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    project_id TEXT NOT NULL,
    row_count INTEGER NOT NULL,
    column_count INTEGER NOT NULL,
    rows BLOB NOT NULL
);

-- The loader's position. `inflight` is the last entry of a block that may or may not have reached ClickHouse: after a
-- crash the very same block is sent again, under the same deduplication token.
CREATE TABLE IF NOT EXISTS loader_position (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    loaded INTEGER NOT NULL,
    inflight INTEGER NOT NULL,
    journal_id TEXT NOT NULL
);

-- The pieces of the block in flight that ClickHouse refused. Recorded before half of a piece is sent, so that after a crash
-- no row is sent in a different piece than before. A refused piece of one row becomes a dead letter.
CREATE TABLE IF NOT EXISTS refusals (
    first_row INTEGER NOT NULL,
    row_count INTEGER NOT NULL,
    reason TEXT NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (first_row, row_count)
);

-- Rows that ClickHouse refused, set aside so that they do not block the others. `row` is packed as in entries.
CREATE TABLE IF NOT EXISTS dead_letters (
    dead_letter_id INTEGER PRIMARY KEY AUTOINCREMENT,
    project_id TEXT NOT NULL,
    row_count INTEGER NOT NULL,
    column_count INTEGER NOT NULL,
    rows BLOB NOT NULL,
    refused_at INTEGER NOT NULL,
    reason TEXT NOT NULL,
    message TEXT NOT NULL,
    is_retried INTEGER NOT NULL DEFAULT 0
);

-- The events in the dead letters, so that one can be found without unpacking all of them.
CREATE TABLE IF NOT EXISTS dead_letter_ids (
    project_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    dead_letter_id INTEGER NOT NULL,
    PRIMARY KEY (project_id, event_id, received_at, dead_letter_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS dead_letter_ids_letter ON dead_letter_ids (dead_letter_id);
CREATE TRIGGER IF NOT EXISTS dead_letter_gone AFTER DELETE ON dead_letters
BEGIN DELETE FROM dead_letter_ids WHERE dead_letter_id = old.dead_letter_id; END;

-- What became of the events of each project: received, stored, duplicate, rejected, dropped. Changed in the same
-- transactions as entries and dead letters, so that in every snapshot received is the sum of all the others.
CREATE TABLE IF NOT EXISTS ledger (
    project_id TEXT NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT NOT NULL,
    events INTEGER NOT NULL,
    PRIMARY KEY (project_id, outcome, reason)
) WITHOUT ROWID;

-- When an older file was migrated to a version that changed what its rows mean, in microseconds since 1970 UTC.
CREATE TABLE IF NOT EXISTS upgrades (
    version INTEGER PRIMARY KEY,
    upgraded_at INTEGER NOT NULL
);

-- Every event id of the idempotency window as a key of 25 bytes, with the ids of its first answer. Rows are in the order
-- of receipt; with a small index beside them, that costs a third of a table sorted by random ids.
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
