-- How many visitors reached each of these steps, and how long did each step take?
-- Parameters: project, limit, window (microseconds), and those of %CONDITIONS% and %MASK%.
-- Reads the project's range of time in the sort key. A visitor's step events are sorted as numbers: the time in the high
-- bits, and one low bit for each step that the event matches. %CHAINS% handles one step after another for all events at
-- once, so one visitor with a million events costs as much as a million visitors. `starts_k` contains, for each event that
-- reaches step k, when its chain began, else 0. An event only looks at earlier ones, never at itself.
-- windowFunnel('strict_once') counts the same, but does not return the times between steps.
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
