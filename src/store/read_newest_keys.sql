-- The newest key of a run, and the newest of what belongs to runs: each is the end of an index.
SELECT
    coalesce((SELECT max(run_key) FROM runs), 0),
    max(
        coalesce((SELECT max(run_key) FROM jobs), 0),
        coalesce((SELECT max(run_key) FROM tasks), 0),
        coalesce((SELECT max(run_key) FROM errors), 0),
        coalesce((SELECT max(run_key) FROM revisions), 0),
        coalesce((SELECT max(run_key) FROM error_runs), 0)
    );
