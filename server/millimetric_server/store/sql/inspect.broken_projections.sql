-- In how many parts of sessions can the projection not be read? Reads system.projection_parts.
SELECT count()
FROM system.projection_parts
WHERE database = currentDatabase() AND table = 'sessions' AND active AND is_broken
