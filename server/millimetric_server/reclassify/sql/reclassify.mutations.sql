-- Which rewrites are still running, and why do they fail? Parameters: answers (the name of their table).
SELECT parts_to_do, latest_fail_reason
FROM system.mutations
WHERE database = currentDatabase() AND table = 'events' AND NOT is_done AND position(command, {answers:String}) > 0
