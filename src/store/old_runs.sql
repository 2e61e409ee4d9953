-- Terminal runs that began before a time. Where the listing was walked whole once, only those that a complete
-- walk has proved since they were stored: a run that is pruned is a sign to stop at, and must not stand for
-- one that no walk has reached through.
SELECT run_key, 0, started_at
FROM runs
    JOIN checkpoints USING (connection_key)
WHERE started_at < ?1
    AND state = 'Completed'
    AND (watermark IS NULL OR run_key <= settled_run_key)
ORDER BY run_key
