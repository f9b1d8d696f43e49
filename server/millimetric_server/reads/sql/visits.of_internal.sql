-- The sessions of the visitors who have a session that begins internal among some, and those that have events of several
-- visitors. Parameters: project, near_first, near_last, and those of %MATCHED%, a condition for the sessions.
SELECT session_hash
FROM sessions
WHERE project_id = {project:String} AND %NEAR% AND %BOTS% AND (length(visitors) > 1 OR visitors[1] IN (
    SELECT toUInt64(substring(entry, position(entry, '\0') + 1, 20))
    FROM sessions
    PREWHERE began % 2 = 1 AND %MATCHED%
    WHERE project_id = {project:String} AND %NEAR% AND %BOTS%
))
