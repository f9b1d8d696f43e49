-- What is the newest claim of this server? Parameters: server. Reads one row.
SELECT max(claim) FROM server_fences WHERE server_id = {server:String}
