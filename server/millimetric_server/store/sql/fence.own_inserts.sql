-- Which inserts of this run are running? Parameters: mark.
SELECT query_id FROM system.processes WHERE query_kind = 'Insert' AND Settings['log_comment'] = {mark:String}
