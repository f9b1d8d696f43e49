-- How far did visitors come through these steps, and how long did each take?
-- Parameters: project, limit, window (microseconds), and those of %CONDITIONS% and %MASK%.
-- Reads the project's range of time in the sort key. A visitor's step events are sorted as numbers: the time, and below
-- it a bit for each step that the event meets. %CHAINS% goes through all of them at once, step by step, so that it takes
-- as long for a visitor of a million events as for a million visitors: `starts_k` has for each event that reaches step k
-- when its chain began, else 0. An event looks at those before it, never at itself. windowFunnel('strict_once') counts
-- the same, but does not tell the times between.
WITH
    arrayMap(event -> bitShiftRight(event, 10), step_events) AS times,
    %CHAINS%
SELECT visitor_group, %FIGURES%
FROM (
    SELECT
        %GROUP% AS visitor_group,
        arraySort(groupArray(bitShiftLeft(toUInt64(toUnixTimestamp64Micro(timestamp)), 10) + mask)) AS step_events
    FROM (
        SELECT visitor, timestamp, %COLUMNS% %MASK% AS mask
        FROM events
        WHERE project_id = {project:String} AND %CONDITIONS%
    )
    WHERE mask != 0
    GROUP BY visitor
    HAVING bitTest(groupBitOr(mask), 0)
)
GROUP BY visitor_group
ORDER BY visitors_1 DESC, visitor_group
LIMIT {limit:UInt32}
