-- The sessions of some visitors, one row each, in the order of their visits: the session's figures, and `visit`, a number
-- that a visitor's sessions share if they are one visit. A session is a visit of its own unless its entry is internal and
-- comes within 30 minutes of the last event of the same visitor's earlier sessions: then it continues the visit before it. A
-- session belongs to the visitor of its entry, and a bot's sessions are apart. Entries as texts are in order of time:
-- schema/0012.
-- Parameters: project, near_first and near_last (reads/visits.py), and those of %CHOSEN%, a query for hashes of sessions.
SELECT
    *,
    sum(is_first) OVER (PARTITION BY visitor, is_bot ORDER BY began, entry ROWS UNBOUNDED PRECEDING) AS visit
FROM (
    SELECT
        *,
        began % 2 = 0 OR intDiv(began, 2) > 1800000000 + max(ended) OVER (
            PARTITION BY visitor, is_bot ORDER BY began, entry ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS is_first
    FROM (
        SELECT
            session_hash, is_bot,
            min(sessions.began) AS began,
            toUInt64(toUnixTimestamp64Micro(max(sessions.ended_at))) AS ended,
            min(sessions.entry) AS entry,
            sum(sessions.events) AS events,
            %FIGURES%
            toUInt64(substring(entry, position(entry, '\0') + 1, 20)) AS visitor
        FROM sessions
        PREWHERE session_hash IN (%CHOSEN%)
        WHERE project_id = {project:String} AND %NEAR% AND %BOTS%
        GROUP BY session_hash, is_bot
    )
)
