-- Stops them. Parameters as in fence.own_inserts.
KILL QUERY WHERE query_kind = 'Insert' AND Settings['log_comment'] = {mark:String} ASYNC
