-- Visits as channels need them. The entry of a session is its earliest event; of several at one time one that does not come
-- from the site itself (`internal`), then the smallest event_id. `session_entry` is a text whose minimum is the entry: the
-- time in microseconds, whether it is internal, and the event_id; after a NUL, which no event_id contains, the visitor in 20
-- digits, the lengths of source and medium in four digits each, source and medium (the channel), the length of the
-- campaign, the campaign, and the path. Lengths are in bytes.
-- `session_exit` is a text whose maximum is the last event with a path. `session_began` tells in one number when a session
-- began and whether its entry is internal, so that few rows are looked at for visits that go on: reads/sql/visits.*.sql.
-- `hours` are those in which a session has events, so that its days are known in any time zone.
-- `session_hash` becomes a stored column, because joining events to visits spent a third of its time on the texts; older parts
-- of the table get it as they are merged.
-- The table is filled in the order of days, so that a day lies in one part of it, or two. As in 0010, that happens
-- beside the old table, and the two are then exchanged; the file can run again from any point.
ALTER TABLE events
    MODIFY COLUMN IF EXISTS session_hash UInt64 MATERIALIZED cityHash64(session_id),
    MODIFY COLUMN IF EXISTS session_entry String ALIAS concat(
        lpad(toString(toUnixTimestamp64Micro(timestamp)), 16, '0'), if(source = 'internal', '1', '0'), event_id, '\0',
        lpad(toString(visitor), 20, '0'),
        lpad(toString(length(source)), 4, '0'), lpad(toString(length(medium)), 4, '0'), source, medium,
        lpad(toString(length(campaign)), 4, '0'), campaign, path
    ),
    ADD COLUMN IF NOT EXISTS session_exit String ALIAS
        if(path = '', '', concat(lpad(toString(toUnixTimestamp64Micro(timestamp)), 16, '0'), event_id, '\0', path)),
    ADD COLUMN IF NOT EXISTS session_began UInt64 ALIAS toUnixTimestamp64Micro(timestamp) * 2 + (source = 'internal'),
    ADD COLUMN IF NOT EXISTS hour UInt32 ALIAS toUInt32(intDiv(toUnixTimestamp(timestamp), 3600));

DROP VIEW IF EXISTS sessions_view SYNC;
DROP TABLE IF EXISTS sessions_next SYNC;
CREATE TABLE sessions_next
(
    project_id LowCardinality(String),
    session_day Date,
    session_hash UInt64,
    is_bot Bool,
    session_id SimpleAggregateFunction(any, String) CODEC(ZSTD),
    began SimpleAggregateFunction(min, UInt64) CODEC(Delta, LZ4),
    ended_at SimpleAggregateFunction(max, DateTime64(6, 'UTC')) CODEC(Delta, LZ4),
    entry SimpleAggregateFunction(min, String),
    exit SimpleAggregateFunction(max, String),
    events SimpleAggregateFunction(sum, UInt64),
    visitors SimpleAggregateFunction(groupUniqArrayArray, Array(UInt64)),
    hours SimpleAggregateFunction(groupUniqArrayArray, Array(UInt32)),
    is_stray SimpleAggregateFunction(max, UInt8),
    retention_days SimpleAggregateFunction(max, UInt16),
    INDEX strays is_stray TYPE minmax GRANULARITY 1,
    PROJECTION channels
    (
        SELECT
            project_id, session_day, is_bot, is_stray,
            substring(
                entry, position(entry, '\0') + 21,
                8 + toUInt16OrZero(substring(entry, position(entry, '\0') + 21, 4))
                + toUInt16OrZero(substring(entry, position(entry, '\0') + 25, 4))
            ) AS channel,
            count(),
            countIf(events = 1),
            sum(events),
            sum(toUnixTimestamp64Micro(ended_at) - intDiv(began, 2)),
            uniqCombined64ArrayState(14)(visitors)
        GROUP BY project_id, session_day, is_bot, is_stray, channel
    )
)
ENGINE = AggregatingMergeTree
ORDER BY (project_id, session_day, session_hash, is_bot)
TTL toDateTime(least(toUnixTimestamp(ended_at) + retention_days * 86400, 4294967295))
SETTINGS
    merge_with_ttl_timeout = 86400,
    non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1,
    deduplicate_merge_projection_mode = 'rebuild',
    lightweight_mutation_projection_mode = 'rebuild';

INSERT INTO sessions_next
SELECT
    project_id, session_day, session_hash, is_bot,
    any(session_id) AS session_id,
    min(session_began) AS began,
    max(timestamp) AS ended_at,
    min(session_entry) AS entry,
    max(session_exit) AS exit,
    count() AS events,
    groupUniqArray(visitor) AS visitors,
    groupUniqArray(hour) AS hours,
    max(session_day != toDate(0) AND toDate(timestamp, 'UTC') != session_day) AS is_stray,
    max(retention_days) AS retention_days
FROM events
GROUP BY project_id, session_day, session_hash, is_bot
ORDER BY project_id, session_day
SETTINGS max_bytes_before_external_group_by = 1000000000, max_bytes_before_external_sort = 1000000000;
EXCHANGE TABLES sessions AND sessions_next;
DROP TABLE sessions_next SYNC;

CREATE MATERIALIZED VIEW sessions_view TO sessions AS
SELECT
    project_id, session_day, session_hash, is_bot,
    any(session_id) AS session_id,
    min(session_began) AS began,
    max(timestamp) AS ended_at,
    min(session_entry) AS entry,
    max(session_exit) AS exit,
    count() AS events,
    groupUniqArray(visitor) AS visitors,
    groupUniqArray(hour) AS hours,
    max(session_day != toDate(0) AND toDate(timestamp, 'UTC') != session_day) AS is_stray,
    max(retention_days) AS retention_days
FROM events
GROUP BY project_id, session_day, session_hash, is_bot;
