-- Removes the person's events. Parameters as in forget.touched.
DELETE FROM events WHERE %MATCH%
