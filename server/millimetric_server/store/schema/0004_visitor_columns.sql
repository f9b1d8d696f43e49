-- Columns that reads group by, derived from other columns of events. `visitor` replaces anonymous_id wherever visitors are
-- counted but not named: 8 bytes are read and hashed several times as fast as a text of 36.
-- `session_day` depends on the session_id alone, so that a session's rows always lie together. It is the UTC day of the half
-- hour (from 2000 to 2099) with which an id made by the server ends, and 1970-01-01 for the ids of callers.
-- `session_entry` decides which event is its session's entry: the smallest wins, by time and then event_id. After a NUL,
-- which no event_id contains, follows the entry channel: the source's length, the source, and the medium.
-- The following files rebuild the roll-ups from the events, so their first views are dropped.
ALTER TABLE events
    ADD COLUMN IF NOT EXISTS visitor UInt64 MATERIALIZED cityHash64(anonymous_id),
    ADD COLUMN IF NOT EXISTS session_hash UInt64 ALIAS cityHash64(session_id),
    ADD COLUMN IF NOT EXISTS session_entry String ALIAS concat(
        lpad(toString(toUnixTimestamp64Micro(timestamp)), 16, '0'), event_id, '\0',
        lpad(toString(length(source)), 4, '0'), source, medium
    ),
    ADD COLUMN IF NOT EXISTS session_day Date ALIAS
        toDate(toUInt16(if(
            toUInt64OrZero(substringIndex(session_id, '-', -1)) BETWEEN 525888 AND 2278943,
            intDiv(toUInt64OrZero(substringIndex(session_id, '-', -1)), 48),
            0
        )));
ALTER TABLE events MATERIALIZE COLUMN visitor;
DROP VIEW IF EXISTS daily_rollup_view SYNC;
DROP VIEW IF EXISTS sessions_view SYNC;
