-- Which parts did ClickHouse set aside because it could not read them? Reads system.detached_parts.
SELECT table, name
FROM system.detached_parts
WHERE database = currentDatabase() AND startsWith(ifNull(reason, ''), 'broken')
ORDER BY table, name
