-- Stops them; later statements repeat their work. Parameters as in fence.earlier_statements.
KILL QUERY
WHERE startsWith(Settings['log_comment'], {server:String}) AND Settings['log_comment'] != {mark:String}
ASYNC
