-- What reads group by, derived from columns that events have. `visitor` stands for anonymous_id wherever visitors are
-- told apart and not named: 8 bytes are read and hashed several times as fast as a text of 36.
-- `session_day` is a function of the session_id alone, so that a session's rows always lie together: the UTC day of the
-- half hour (of 2000 to 2099) that an id made by the server ends in, and 1970-01-01 for the ids of callers.
-- `session_entry` is the event's claim to be its session's first: the smallest by time, then event_id, wins. Behind a NUL,
-- which no event_id has, follow the source with its length before it, and the medium.
-- The roll-ups are made anew by the files that follow, from the events; so their first views go.
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
