-- The sessions of the visitors who have such events, and those that have events of several visitors.
-- Parameters: project, near_first, near_last, and those of %EVENTS%. %TIME% is %NEAR%, or nothing for all time.
SELECT session_hash
FROM sessions
WHERE project_id = {project:String} AND %TIME% AND %BOTS% AND (length(visitors) > 1 OR visitors[1] IN (
    SELECT arrayJoin(visitors)
    FROM sessions
    PREWHERE session_hash IN (
        SELECT session_hash FROM events WHERE project_id = {project:String} AND %EVENTS%
    )
    WHERE project_id = {project:String} AND %NEAR%
))
