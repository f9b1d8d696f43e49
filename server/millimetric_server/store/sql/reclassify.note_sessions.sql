-- Which sessions will change? Kept in %SESSIONS%, as reclassify.note_days does with days.
-- Parameters: month, and those of %ROWS%. Reads one partition.
INSERT INTO %SESSIONS%
SELECT DISTINCT session_id
FROM events
WHERE toYYYYMM(timestamp) = {month:UInt32} AND %ROWS% AND joinGet('%ANSWERS%', 'is_rolled_up', %KEY%)
