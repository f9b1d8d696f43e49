-- Empties days of a roll-up before they are rebuilt. Parameters: project, and those of %IDS%.
-- Reads the project's days. rollups.py fills in the text between %, here and in the other rebuilds.
DELETE FROM %TABLE% WHERE project_id = {project:String} AND toDate(%TIME%) IN (SELECT toDate(id) FROM %IDS%)
