-- Of the visitors who first came in a period, how many came back in each later period?
-- Parameters: project, timezone, periods, period_days, and those of the conditions. %PERIOD% is the first day of an
-- event's period, as days since 1970. Reads the project's range of time in the sort key.
SELECT
    cohort,
    count() AS visitors,
    sumForEach(arrayMap(number -> has(returns, cohort + number * {period_days:UInt32}), range(1, {periods:UInt32} + 1)))
FROM (
    SELECT minIf(period, is_first) AS cohort, groupUniqArrayIf(period, is_return) AS returns
    FROM (
        SELECT visitor, toUInt32(%PERIOD%) AS period, %FIRST% AS is_first, %RETURN% AS is_return
        FROM events
        WHERE project_id = {project:String} AND %CONDITIONS%
    )
    GROUP BY visitor
    HAVING max(is_first)
)
GROUP BY cohort
ORDER BY cohort
