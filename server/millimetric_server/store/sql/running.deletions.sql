-- Which deletions from a table are still running? Parameters: table.
SELECT mutation_id
FROM system.mutations
WHERE database = currentDatabase() AND table = {table:String} AND NOT is_done
