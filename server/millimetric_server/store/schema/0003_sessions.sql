-- Visits: when each began and ended, its entry (its first event by time, then id), and its number of events.
-- Events of bots form visits of their own, so that a query can leave them out without affecting people's visits.
CREATE TABLE sessions
(
    project_id LowCardinality(String),
    session_id String,
    is_bot Bool,
    started_at SimpleAggregateFunction(min, DateTime64(6, 'UTC')),
    ended_at SimpleAggregateFunction(max, DateTime64(6, 'UTC')),
    entry_source AggregateFunction(argMin, String, Tuple(DateTime64(6, 'UTC'), String)),
    entry_medium AggregateFunction(argMin, String, Tuple(DateTime64(6, 'UTC'), String)),
    entry_campaign AggregateFunction(argMin, String, Tuple(DateTime64(6, 'UTC'), String)),
    events SimpleAggregateFunction(sum, UInt64),
    paid_events SimpleAggregateFunction(sum, UInt64),
    visitors AggregateFunction(uniqCombined64(14), String),
    retention_days SimpleAggregateFunction(max, UInt16)
)
ENGINE = AggregatingMergeTree
ORDER BY (project_id, session_id, is_bot)
TTL toDateTime(ended_at) + toIntervalDay(retention_days)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW sessions_view TO sessions AS
SELECT
    project_id, session_id, is_bot,
    min(timestamp) AS started_at,
    max(timestamp) AS ended_at,
    argMinState(toString(source), (timestamp, event_id)) AS entry_source,
    argMinState(toString(medium), (timestamp, event_id)) AS entry_medium,
    argMinState(campaign, (timestamp, event_id)) AS entry_campaign,
    count() AS events,
    countIf(medium = 'paid') AS paid_events,
    uniqCombined64State(14)(anonymous_id) AS visitors,
    max(retention_days) AS retention_days
FROM events
GROUP BY project_id, session_id, is_bot;
