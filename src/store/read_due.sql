-- Runs of a connection that are due to be asked for again: each sync on the day after they last moved, once a
-- day for a month, and later only where a full walk misses them. An answer of a time to come was noted by a
-- clock that was wrong, so it says nothing. A row that is missing is as good as a run never answered for.
SELECT runs.run_key, id, started_at
FROM runs
    LEFT JOIN unfinished_runs ON unfinished_runs.run_key = runs.run_key
-- The words of the index runs_unfinished.
WHERE connection_key = :connection_key AND state IS NOT 'Completed'
    AND not_found_at IS NULL
    AND (
        answered_at IS NULL
        OR answered_at > :now
        OR changed_at > :day_ago
        OR changed_at > :month_ago AND answered_at <= :daily
    )
ORDER BY answered_at, runs.run_key
LIMIT :most
