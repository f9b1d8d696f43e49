-- Which statements of this server's earlier runs are running? Parameters: server (the prefix of their marks), mark (ours).
SELECT query_id
FROM system.processes
WHERE startsWith(Settings['log_comment'], {server:String}) AND Settings['log_comment'] != {mark:String}
