-- Empties days of a roll-up before they are built again. Parameters: project, and those of %IDS%.
-- Reads the project's days. What stands between % is filled in by rollups.py, here and in the other rebuilds.
DELETE FROM %TABLE% WHERE project_id = {project:String} AND toDate(%TIME%) IN (SELECT toDate(id) FROM %IDS%)
