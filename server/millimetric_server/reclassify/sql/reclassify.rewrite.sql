-- Gives a month's events their new attribution. A mutation: each part changes completely or not at all, and the views do
-- not see it. A row whose day or session was not noted, because it has just arrived, is left for the next run.
-- Parameters: month, rule_set, and those of %ROWS%. %ASSIGNMENTS% take the columns of attribution from %ANSWERS% by %KEY%.
-- Reads the project's range of the month, and rewrites only the named columns of the parts that have such rows.
ALTER TABLE events UPDATE
    %ASSIGNMENTS%,
    rule_set = {rule_set:String}
WHERE toYYYYMM(timestamp) = {month:UInt32} AND %ROWS% AND isNotNull(joinGetOrNull('%ANSWERS%', 'source', %KEY%))
    AND (
        NOT joinGet('%ANSWERS%', 'is_rolled_up', %KEY%)
        OR (
            toDate(timestamp, 'UTC') IN (SELECT day FROM %DAYS%)
            AND session_id IN (SELECT session_id FROM %SESSIONS%)
        )
    )
