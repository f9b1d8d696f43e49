-- The sessions of visitors who have a session with an internal entry, from a time on: all that may belong to visits of
-- several sessions, and those that have events of several visitors, any of whom may be the one.
-- Parameters: project, near_first, near_last, from_us.
SELECT session_hash
FROM sessions
WHERE project_id = {project:String} AND %NEAR% AND %BOTS% AND (length(visitors) > 1 OR visitors[1] IN (
    SELECT toUInt64(substring(entry, position(entry, '\0') + 1, 20))
    FROM sessions
    PREWHERE began % 2 = 1 AND intDiv(began, 2) >= {from_us:UInt64}
    WHERE project_id = {project:String} AND %NEAR% AND %BOTS%
))
