-- How many visitors reached each of these steps, and how long did each step take?
-- Parameters: project, limit, window (microseconds), and those of %CONDITIONS% and %MASK%.
-- Reads the project's range of time in the sort key. A visitor's step events are sorted as numbers: the time in the high
-- bits, and one low bit for each step that the event matches. %CHAINS% handles one step after another for all events at
-- once, so one visitor with a million events costs as much as a million visitors. `starts_k` contains, for each event that
-- reaches step k, when its chain began, else 0. An event only looks at earlier ones, never at itself. %PLACES% follows the
-- chain back that first arrives at the furthest step: `place_k` is its event of step k.
--
-- Events of one time may be taken in any order, each once. `paths` are the sets of steps that the events of such a group can
-- stand for together. The group is replaced by the steps that it leads to, for each step that a visitor may come from, the
-- last one first: where it is enough for two steps in a row and not for three, by 3, then 2 3, then 1 2. Read in this order,
-- they take each chain as far as the best order of the group would. %STEPS% are all such steps, and %SPANS% the set that
-- each needs.
WITH visitors AS (
    SELECT
        %GROUP% AS visitor_group,
        arraySort(groupArray(bitShiftLeft(toUInt64(toUnixTimestamp64Micro(timestamp)), 10) + mask)) AS sorted_events
    FROM (
        SELECT visitor, timestamp, %COLUMNS% %MASK% AS mask
        FROM events
        WHERE project_id = {project:String} AND %CONDITIONS%
    )
    WHERE mask != 0
    GROUP BY visitor
    HAVING bitTest(groupBitOr(mask), 0)
),
groups AS (
    SELECT
        visitor_group,
        sorted_events,
        arrayDifference(arrayMap(event -> bitShiftRight(event, 10), sorted_events)) AS gaps, -- the first one is always 0
        countEqual(gaps, 0) > 1 AS has_ties,
        if(has_ties, arraySplit((event, gap) -> gap != 0, sorted_events, gaps), []) AS tied_groups
    FROM visitors
),
paths AS (
    SELECT
        visitor_group,
        sorted_events,
        has_ties,
        tied_groups,
        arrayMap(
            tied -> arrayFold(
                (paths, mask) -> arrayDistinct(arrayConcat(paths, arrayFlatten(
                    arrayMap(step -> arrayMap(path -> bitOr(path, step), paths), bitmaskToArray(mask))
                ))),
                -- A step needs one event, so of equal ones no more than they have steps.
                arrayFilter(
                    (mask, copy) -> copy <= bitCount(mask),
                    arrayMap(event -> toUInt16(bitAnd(event, 1023)), tied),
                    arrayEnumerateUniq(tied)
                ),
                [toUInt16(0)]
            ),
            tied_groups
        ) AS group_paths
    FROM groups
),
ordered AS (
    SELECT
        visitor_group,
        has_ties,
        if(
            has_ties,
            arrayFlatten(arrayMap(
                (tied, paths) -> if(
                    length(tied) = 1,
                    tied,
                    arrayMap(
                        step -> bitOr(bitAnd(tied[1], bitNot(toUInt64(1023))), step),
                        arrayFilter((step, span) -> has(paths, span), [%STEPS%], [%SPANS%])
                    )
                ),
                tied_groups,
                group_paths
            )),
            sorted_events
        ) AS step_events
    FROM paths
),
chains AS (
    SELECT
        visitor_group,
        has_ties,
        arrayMap(event -> bitShiftRight(event, 10), step_events) AS times,
        %CHAINS%
    FROM ordered
),
ways AS (
    SELECT
        visitor_group,
        times,
        %PLACES%
    FROM chains
)
SELECT visitor_group, %FIGURES%
FROM ways
GROUP BY visitor_group
ORDER BY visitors_1 DESC, visitor_group
LIMIT {limit:UInt32}
