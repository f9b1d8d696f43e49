-- Stops rewrites that a crashed run left behind; parts that are done stay so. Parameters: answers.
KILL MUTATION
WHERE database = currentDatabase() AND table = 'events' AND position(command, {answers:String}) > 0
SYNC
