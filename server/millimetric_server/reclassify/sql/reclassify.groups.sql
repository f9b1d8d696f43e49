-- Which groups of events have equal attribution columns and inputs, and how many events does each have?
-- Parameters: month, slices, slice (one part of the groups, so that they fit into memory), and those of %ROWS%.
-- Reads the project's range of the month.
SELECT %KEY% AS key, %ALIKE%, count() AS events
FROM events
WHERE toYYYYMM(timestamp) = {month:UInt32} AND %ROWS% AND sipHash64(url, referrer) % {slices:UInt32} = {slice:UInt32}
GROUP BY %ALIKE%
