-- Of which types are the columns of events?
SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = 'events'
