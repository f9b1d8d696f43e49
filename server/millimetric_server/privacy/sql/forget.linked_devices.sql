-- Which devices does $identify link to this person alone?
-- Parameters: project, user_id. Reads the project's range of the sort key.
SELECT anonymous_id
FROM events
WHERE project_id = {project:String} AND event = '$identify' AND anonymous_id IN (
    SELECT anonymous_id FROM events
    WHERE project_id = {project:String} AND event = '$identify' AND user_id = {user_id:String}
)
GROUP BY anonymous_id
HAVING uniqExact(user_id) = 1
