-- Empties days of the roll-up before they are built again. Parameters: project, days.
DELETE FROM daily_rollup WHERE project_id = {project:String} AND toString(day) IN {days:Array(String)}
