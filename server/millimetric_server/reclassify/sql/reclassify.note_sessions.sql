-- Which sessions will change? Kept in %SESSIONS%, as reclassify.note_days does with days.
-- Parameters: month, and those of %ROWS%. Reads the project's range of the month.
INSERT INTO %SESSIONS%
SELECT DISTINCT session_id
FROM events
WHERE toYYYYMM(timestamp) = {month:UInt32} AND %ROWS% AND joinGet('%ANSWERS%', 'is_rolled_up', %KEY%)
