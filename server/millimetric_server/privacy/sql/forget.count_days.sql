-- How many rows do these days have in a roll-up? Parameters: project, and those of %IDS%. Reads the project's days.
SELECT count()
FROM (
    SELECT 1 FROM %TABLE% WHERE project_id = {project:String} AND toDate(%TIME%) IN (SELECT toDate(id) FROM %IDS%)
    GROUP BY %TIME%, %DIMENSIONS%
)
