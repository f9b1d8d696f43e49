-- Are there tables of a reclassification, which runs or was cut short? Reads system.tables.
SELECT name FROM system.tables WHERE database = currentDatabase() AND startsWith(name, 'reclassify_')
