-- Which days and sessions hold events to remove, and how many events are there?
-- Parameters: project, user_id, anonymous_id, devices, asked (microseconds); %MATCH% is erasure.MATCH.
SELECT
    arrayMap(day -> toString(day), groupUniqArray(toDate(timestamp, 'UTC'))) AS days,
    groupUniqArray(session_id) AS sessions,
    count() AS events
FROM events
WHERE %MATCH%
