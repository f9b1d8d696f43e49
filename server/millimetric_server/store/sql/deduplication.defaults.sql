-- How large are the deduplication windows by default?
SELECT name, value FROM system.merge_tree_settings WHERE name = 'non_replicated_deduplication_window'
UNION ALL
SELECT name, value FROM system.replicated_merge_tree_settings
WHERE name IN ('replicated_deduplication_window', 'replicated_deduplication_window_seconds')
