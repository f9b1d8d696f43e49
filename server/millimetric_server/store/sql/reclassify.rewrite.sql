-- Gives a month's events their new attribution. A mutation: each part changes as a whole or not at all, and the views
-- do not see it. A row whose day or session was not noted, since it came in only now, is left for the next run.
-- Parameters: rule_set, and those of %ROWS%. Reads and rewrites one partition, of which only the columns named.
ALTER TABLE events UPDATE
    source = joinGet('%ANSWERS%', 'source', %KEY%),
    medium = joinGet('%ANSWERS%', 'medium', %KEY%),
    campaign = joinGet('%ANSWERS%', 'campaign', %KEY%),
    source_confidence = joinGet('%ANSWERS%', 'source_confidence', %KEY%),
    source_rule_id = joinGet('%ANSWERS%', 'source_rule_id', %KEY%),
    rule_set = {rule_set:String}
IN PARTITION %MONTH%
WHERE %ROWS% AND isNotNull(joinGetOrNull('%ANSWERS%', 'source_rule_id', %KEY%))
    AND (
        NOT joinGet('%ANSWERS%', 'is_rolled_up', %KEY%)
        OR (
            toDate(timestamp, 'UTC') IN (SELECT day FROM %DAYS%)
            AND session_id IN (SELECT session_id FROM %SESSIONS%)
        )
    )
