-- Are there tables of a reclassification that is running or was interrupted? Reads system.tables.
SELECT name FROM system.tables WHERE database = currentDatabase() AND startsWith(name, 'reclassify_')
