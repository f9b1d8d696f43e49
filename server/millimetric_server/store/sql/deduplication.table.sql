-- What kind of table is this, and with which settings? Parameters: database, table.
SELECT database, name, engine, engine_full FROM system.tables WHERE database = {database:String} AND name = {table:String}
