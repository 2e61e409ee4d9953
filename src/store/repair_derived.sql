-- What can be told from the rows, told anew: as it is written with a run, in ticks of 100 ns.
UPDATE runs
SET duration_ms = iif(
    ended_at >= started_at,
    ((unixepoch(substr(ended_at, 1, 19)) - unixepoch(substr(started_at, 1, 19))) * 10000000
     + substr(ended_at, 21, 7) - substr(started_at, 21, 7)) / 10000,
    NULL
);

UPDATE jobs
SET duration_ms = iif(
    ended_at >= started_at,
    ((unixepoch(substr(ended_at, 1, 19)) - unixepoch(substr(started_at, 1, 19))) * 10000000
     + substr(ended_at, 21, 7) - substr(started_at, 21, 7)) / 10000,
    NULL
);

UPDATE tasks
SET duration_ms = iif(
    ended_at >= started_at,
    ((unixepoch(substr(ended_at, 1, 19)) - unixepoch(substr(started_at, 1, 19))) * 10000000
     + substr(ended_at, 21, 7) - substr(started_at, 21, 7)) / 10000,
    NULL
);

UPDATE runs
SET
    queue_ms = (
        SELECT ((unixepoch(substr(first, 1, 19)) - unixepoch(substr(runs.started_at, 1, 19))) * 10000000
                + substr(first, 21, 7) - substr(runs.started_at, 21, 7)) / 10000
        FROM (SELECT min(jobs.started_at) AS first FROM jobs WHERE jobs.run_key = runs.run_key)
        WHERE first >= runs.started_at
    ),
    has_failure = EXISTS (
        SELECT 1 FROM jobs WHERE jobs.run_key = runs.run_key AND jobs.result IN ('Error', 'TimedOut')
    )
    OR EXISTS (
        SELECT 1 FROM tasks WHERE tasks.run_key = runs.run_key AND tasks.result IN ('Error', 'TimedOut')
    )
    OR EXISTS (SELECT 1 FROM errors WHERE errors.run_key = runs.run_key);

DELETE FROM error_runs;

INSERT INTO error_kinds (error_code, description_key, can_user_fix)
SELECT DISTINCT error_code, description_key, can_user_fix
FROM errors
WHERE NOT EXISTS (
    SELECT 1 FROM error_kinds
    WHERE error_kinds.error_code IS errors.error_code
        AND error_kinds.description_key IS errors.description_key
        AND error_kinds.can_user_fix IS errors.can_user_fix
);

INSERT INTO error_runs (error_kind_key, connection_key, started_at, run_key, tasks)
SELECT min(error_kind_key), runs.connection_key, runs.started_at, errors.run_key, count(*)
FROM errors
    JOIN runs ON runs.run_key = errors.run_key
    JOIN (
        SELECT min(error_kind_key) AS error_kind_key, error_code, description_key, can_user_fix
        FROM error_kinds
        GROUP BY error_code, description_key, can_user_fix
    ) AS kinds ON kinds.error_code IS errors.error_code
        AND kinds.description_key IS errors.description_key
        AND kinds.can_user_fix IS errors.can_user_fix
WHERE runs.started_at IS NOT NULL
GROUP BY error_kind_key, runs.connection_key, runs.started_at, errors.run_key;

INSERT OR IGNORE INTO checkpoints (connection_key) SELECT connection_key FROM connections;

UPDATE checkpoints
SET
    listed = (
        SELECT count(*) FROM runs
        WHERE runs.connection_key = checkpoints.connection_key AND unlisted_at IS NULL
    ),
    newest_started_at = nullif(
        max(
            coalesce(newest_started_at, ''),
            coalesce(
                (SELECT max(started_at) FROM runs WHERE runs.connection_key = checkpoints.connection_key),
                ''
            )
        ),
        ''
    );

DELETE FROM drift WHERE NOT EXISTS (SELECT 1 FROM runs WHERE run_key = example_run_key);

DELETE FROM unfinished_runs
WHERE run_key NOT IN (SELECT run_key FROM runs WHERE state IS NOT 'Completed');

-- As the migration that made the table filled it: a change before says when the run moved last.
INSERT OR IGNORE INTO unfinished_runs (run_key, changed_at, answered_at)
SELECT
    run_key,
    coalesce((SELECT max(replaced_at) FROM revisions WHERE revisions.run_key = runs.run_key), first_seen_at),
    coalesce((SELECT max(replaced_at) FROM revisions WHERE revisions.run_key = runs.run_key), first_seen_at)
FROM runs
WHERE state IS NOT 'Completed';
