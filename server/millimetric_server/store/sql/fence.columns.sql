-- Which types do the columns of events have?
SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = 'events'
