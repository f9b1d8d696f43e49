-- What are the different visits of a month, how are they attributed now, and how many events does each have?
-- Parameters: month, slices, slice (one part of the visits, so that they fit into memory), and those of %ROWS%.
-- Reads the project's range of the month.
SELECT %KEY% AS key, url, referrer, rule_set, source, medium, campaign, source_confidence, source_rule_id, count() AS events
FROM events
WHERE toYYYYMM(timestamp) = {month:UInt32} AND %ROWS% AND sipHash64(url, referrer) % {slices:UInt32} = {slice:UInt32}
GROUP BY url, referrer, rule_set, source, medium, campaign, source_confidence, source_rule_id
