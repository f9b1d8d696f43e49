-- Into which tables do the views of this table write? Parameters: database, table.
-- A view that was made without a target has one of its own, named after its uuid or, in old databases, after the view.
WITH dependents AS
(
    SELECT arrayJoin(arrayZip(dependencies_database, dependencies_table)) AS place
    FROM system.tables
    WHERE database = {database:String} AND name = {table:String}
),
views AS
(
    SELECT
        database, name, uuid,
        extractGroups(create_table_query, '^CREATE MATERIALIZED VIEW \\S+(?: UUID \'[^\']*\')? TO (?:`?([^`. ]+)`?\\.)?`?([^`. (]+)`?') AS target
    FROM system.tables
    WHERE engine = 'MaterializedView' AND (database, name) IN (SELECT place FROM dependents)
)
SELECT
    if(notEmpty(target) AND target[1] != '', target[1], database) AS target_database,
    multiIf(
        notEmpty(target), target[2],
        uuid != toUUID('00000000-0000-0000-0000-000000000000'), concat('.inner_id.', toString(uuid)),
        concat('.inner.', name)
    ) AS target_table
FROM views
