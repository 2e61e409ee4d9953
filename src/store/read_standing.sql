-- What is archived of a run: 0, it is the newest that is listed, or was pruned; 1, it is known to be gone; 2, a run
-- that is listed began after it, so that it cannot be the last one.
SELECT CASE
           WHEN unlisted_at IS NOT NULL OR not_found_at IS NOT NULL THEN 1
           WHEN EXISTS (
               -- The words of the index runs_by_outcome.
               SELECT 1 FROM runs AS newer
               WHERE newer.connection_key = ?1
                 AND newer.outcome IN ('succeeded', 'partly succeeded', 'failed', 'canceled', 'skipped',
                                       'undetermined', 'unfinished')
                 AND newer.started_at > runs.started_at
                 AND newer.unlisted_at IS NULL
           ) THEN 2
           ELSE 0
       END
FROM runs
WHERE connection_key = ?1 AND id = ?2
UNION ALL
SELECT 0 FROM pruned_runs WHERE connection_key = ?1 AND id = ?2
