-- Which days of the roll-ups will change? Saved in %DAYS% before the first row changes, so that a crash loses nothing.
-- Parameters: month, and those of %ROWS%; %ANSWERS% holds the new attributions by %KEY%. Reads the
-- project's range of the month.
INSERT INTO %DAYS%
SELECT DISTINCT toDate(timestamp, 'UTC')
FROM events
WHERE toYYYYMM(timestamp) = {month:UInt32} AND %ROWS% AND joinGet('%ANSWERS%', 'is_rolled_up', %KEY%)
