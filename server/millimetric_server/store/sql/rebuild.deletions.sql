-- Which deletions from a table still run? Parameters: table.
SELECT mutation_id
FROM system.mutations
WHERE database = currentDatabase() AND table = {table:String} AND NOT is_done
