-- Rules of the archive
--
-- What must be true of every archive, and how many rows break it. 0 everywhere is a sound archive, as far
-- as its rows can tell; `archive verify` asks this too.
--
-- Columns:
--   rule     what must be true
--   broken   how many rows break it
--   example  one of them; NULL where there is none
WITH rules (number, rule) AS (
    VALUES
        (1, 'every row belongs to one that is there'),
        (2, 'times are UTC text of one width'),
        (3, 'a duration is end minus start, where both are real and in order'),
        (4, 'jobs and tasks are numbered from 0 without a hole'),
        (5, 'queue time is from a run''s start to its first job''s'),
        (6, 'has_failure says whether a job or task failed or carries an error'),
        (7, 'error_runs says what errors says'),
        (8, 'what the columns cannot give back is a JSON object'),
        (9, 'the counts of listed and of pruned runs are their numbers'),
        (10, 'the newest start noted is the newest one'),
        (11, 'a run whose id is not found is not listed'),
        (12, 'revisions are numbered without a hole, and are JSON of their run'),
        (13, 'a walk has ended complete, or has a reason why not'),
        (14, 'every connection has a checkpoint, a kind and a name of its own'),
        (15, 'a drift note counts runs and names one of them'),
        (16, 'words are those that archive writes, and what is counted is not negative'),
        (17, 'where a walk goes on and where a listing ended is a JSON object'),
        (18, 'a run that was pruned is not archived'),
        (19, 'unfinished_runs holds exactly the runs that are not terminal')
),
times (place, time) AS (
    SELECT 'run ' || run_key, started_at FROM runs WHERE started_at IS NOT NULL
    UNION ALL
    SELECT 'run ' || run_key, ended_at FROM runs WHERE ended_at IS NOT NULL
    UNION ALL
    SELECT 'run ' || run_key, first_seen_at FROM runs
    UNION ALL
    SELECT 'run ' || run_key, unlisted_at FROM runs WHERE unlisted_at IS NOT NULL
    UNION ALL
    SELECT 'job ' || run_key || '/' || job_index, started_at FROM jobs WHERE started_at IS NOT NULL
    UNION ALL
    SELECT 'job ' || run_key || '/' || job_index, ended_at FROM jobs WHERE ended_at IS NOT NULL
    UNION ALL
    SELECT 'task ' || run_key || '/' || job_index || '/' || task_index, started_at
    FROM tasks
    WHERE started_at IS NOT NULL
    UNION ALL
    SELECT 'task ' || run_key || '/' || job_index || '/' || task_index, ended_at
    FROM tasks
    WHERE ended_at IS NOT NULL
    UNION ALL
    SELECT 'run ' || run_key, not_found_at FROM runs WHERE not_found_at IS NOT NULL
    UNION ALL
    SELECT 'connection ' || id, first_seen_at FROM connections
    UNION ALL
    SELECT 'connection ' || id, unlisted_at FROM connections WHERE unlisted_at IS NOT NULL
    UNION ALL
    SELECT 'checkpoint ' || connection_key, watermark FROM checkpoints WHERE watermark IS NOT NULL
    UNION ALL
    SELECT 'checkpoint ' || connection_key, full_walk_at FROM checkpoints WHERE full_walk_at IS NOT NULL
    UNION ALL
    SELECT 'checkpoint ' || connection_key, newest_started_at FROM checkpoints WHERE newest_started_at IS NOT NULL
    UNION ALL
    SELECT 'checkpoint ' || connection_key, quiet_at FROM checkpoints WHERE quiet_at IS NOT NULL
    UNION ALL
    SELECT 'walk ' || walk_key, started_at FROM walks
    UNION ALL
    SELECT 'walk ' || walk_key, ended_at FROM walks WHERE ended_at IS NOT NULL
    UNION ALL
    SELECT 'walk ' || walk_key, newest_before FROM walks WHERE newest_before IS NOT NULL
    UNION ALL
    SELECT 'sync ' || sync_key, started_at FROM syncs
    UNION ALL
    SELECT 'sync ' || sync_key, ended_at FROM syncs WHERE ended_at IS NOT NULL
    UNION ALL
    SELECT 'sync ' || sync_key, requested_at FROM syncs WHERE requested_at IS NOT NULL
    UNION ALL
    SELECT 'revision ' || number || ' of run ' || run_key, replaced_at FROM revisions
    UNION ALL
    SELECT 'reject ' || reject_key, rejected_at FROM rejects
    UNION ALL
    SELECT 'reject ' || reject_key, last_seen_at FROM rejects WHERE last_seen_at IS NOT NULL
    UNION ALL
    SELECT 'gap ' || gap_key, after FROM gaps
    UNION ALL
    SELECT 'gap ' || gap_key, until FROM gaps
    UNION ALL
    SELECT 'gap ' || gap_key, noticed_at FROM gaps
    UNION ALL
    SELECT 'drift ' || drift_key, first_seen_at FROM drift
    UNION ALL
    SELECT 'iTwin ' || id, first_seen_at FROM itwins
    UNION ALL
    SELECT 'iTwin ' || id, unlisted_at FROM itwins WHERE unlisted_at IS NOT NULL
    UNION ALL
    SELECT 'iModel ' || id, first_seen_at FROM imodels
    UNION ALL
    SELECT 'iModel ' || id, asked_at FROM imodels WHERE asked_at IS NOT NULL
    UNION ALL
    SELECT 'iModel ' || id, unlisted_at FROM imodels WHERE unlisted_at IS NOT NULL
    UNION ALL
    SELECT 'unfinished run ' || run_key, changed_at FROM unfinished_runs
    UNION ALL
    SELECT 'unfinished run ' || run_key, answered_at FROM unfinished_runs
    UNION ALL
    SELECT 'unfinished run ' || run_key, asked_at FROM unfinished_runs WHERE asked_at IS NOT NULL
    UNION ALL
    SELECT 'pruned run ' || id, started_at FROM pruned_runs WHERE started_at IS NOT NULL
    UNION ALL
    SELECT 'prune ' || prune_key, pruned_at FROM prunes
    UNION ALL
    SELECT 'prune ' || prune_key, before FROM prunes
),
first_jobs (run_key, started_at) AS (
    SELECT run_key, min(started_at) FROM jobs GROUP BY run_key
),
-- Lengths of time, by the rule that they are under.
spans (number, place, started_at, ended_at, length_ms) AS (
    SELECT 3, 'run ' || run_key, started_at, ended_at, duration_ms FROM runs
    UNION ALL
    SELECT 3, 'job ' || run_key || '/' || job_index, started_at, ended_at, duration_ms FROM jobs
    UNION ALL
    SELECT 3, 'task ' || run_key || '/' || job_index || '/' || task_index, started_at, ended_at, duration_ms
    FROM tasks
    UNION ALL
    SELECT 5, 'run ' || runs.run_key, runs.started_at, first_jobs.started_at, queue_ms
    FROM runs
        LEFT JOIN first_jobs ON first_jobs.run_key = runs.run_key
),
extras (place, extra) AS (
    SELECT 'run ' || run_key, extra FROM runs WHERE extra IS NOT NULL
    UNION ALL
    SELECT 'job ' || run_key || '/' || job_index, extra FROM jobs WHERE extra IS NOT NULL
    UNION ALL
    SELECT 'task ' || run_key || '/' || job_index || '/' || task_index, extra
    FROM tasks
    WHERE extra IS NOT NULL
    UNION ALL
    SELECT 'error ' || run_key || '/' || job_index || '/' || task_index, extra
    FROM errors
    WHERE extra IS NOT NULL
    UNION ALL
    SELECT 'connection ' || id, extra FROM connections WHERE extra IS NOT NULL
    UNION ALL
    SELECT 'iTwin ' || id, extra FROM itwins WHERE extra IS NOT NULL
    UNION ALL
    SELECT 'iModel ' || id, extra FROM imodels WHERE extra IS NOT NULL
),
-- What only a few words may stand for, NULL left out.
words (place, is_known) AS (
    SELECT 'connection ' || id, kind IN ('export', 'storage', 'manifest') FROM connections
    UNION ALL
    SELECT 'checkpoint ' || connection_key, listing_order IN ('newest first', 'oldest first', 'none')
    FROM checkpoints
    UNION ALL
    SELECT 'walk ' || walk_key, kind IN ('full', 'incremental') AND complete IN (0, 1) FROM walks
    UNION ALL
    SELECT
        'sync ' || sync_key,
        outcome IN ('running', 'done', 'partial', 'failed', 'interrupted') AND coalesce(exit_code, 0) BETWEEN 0 AND 6
    FROM syncs
    UNION ALL
    SELECT 'run ' || run_key, has_failure IN (0, 1) AND length(fingerprint) = 16 FROM runs
    UNION ALL
    SELECT 'drift ' || drift_key, object IN ('run', 'job', 'task', 'error', 'connection') AND what IN ('field', 'value', 'type', 'volatile')
    FROM drift
    UNION ALL
    SELECT
        'pruned run ' || id,
        outcome IN (
            'succeeded', 'partly succeeded', 'failed', 'canceled', 'skipped', 'undetermined', 'unfinished'
        )
    FROM pruned_runs
),
-- The least of what a row counts.
counts (place, least) AS (
    SELECT 'checkpoint ' || connection_key, min(settled_run_key, coalesce(page_size, 1) - 1) FROM checkpoints
    UNION ALL
    SELECT 'walk ' || walk_key, min(pages, listed, set_aside, base_run_key, times - 1) FROM walks
    UNION ALL
    SELECT
        'sync ' || sync_key,
        min(requests, pages, listed, new, changed, rejected, imodels, connections, quiet)
    FROM syncs
    UNION ALL
    SELECT 'reject ' || reject_key, times - 1 FROM rejects
    UNION ALL
    SELECT 'prune ' || prune_key, min(runs, revisions, rejects, walks) FROM prunes
),
places (place, json) AS (
    SELECT 'walk ' || walk_key, checkpoint FROM walks
    UNION ALL
    SELECT 'checkpoint ' || connection_key, listing_end FROM checkpoints
),
failures (run_key) AS (
    SELECT run_key
    FROM (SELECT run_key, result FROM jobs UNION ALL SELECT run_key, result FROM tasks)
    WHERE result IN ('Error', 'TimedOut')
    UNION
    SELECT run_key FROM errors
),
error_rows (error_code, description_key, can_user_fix, connection_key, started_at, run_key, tasks) AS (
    SELECT
        error_code, description_key, can_user_fix, connection_key, runs.started_at, errors.run_key, count(*)
    FROM errors
        JOIN runs ON runs.run_key = errors.run_key
    WHERE runs.started_at IS NOT NULL
    GROUP BY error_code, description_key, can_user_fix, errors.run_key
),
noted_rows (error_code, description_key, can_user_fix, connection_key, started_at, run_key, tasks) AS (
    SELECT error_code, description_key, can_user_fix, connection_key, started_at, run_key, tasks
    FROM error_runs
        JOIN error_kinds ON error_kinds.error_kind_key = error_runs.error_kind_key
),
broken (number, example) AS (
    SELECT 1, 'run ' || run_key || ' has no connection'
    FROM runs
    WHERE connection_key NOT IN (SELECT connection_key FROM connections)
    UNION ALL
    SELECT 1, 'job ' || run_key || '/' || job_index || ' has no run'
    FROM jobs
    WHERE NOT EXISTS (SELECT 1 FROM runs WHERE runs.run_key = jobs.run_key)
    UNION ALL
    SELECT 1, 'task ' || run_key || '/' || job_index || '/' || task_index || ' has no job'
    FROM tasks
    WHERE NOT EXISTS (
        SELECT 1 FROM jobs WHERE jobs.run_key = tasks.run_key AND jobs.job_index = tasks.job_index
    )
    UNION ALL
    SELECT 1, 'error ' || run_key || '/' || job_index || '/' || task_index || ' has no task'
    FROM errors
    WHERE NOT EXISTS (
        SELECT 1 FROM tasks
        WHERE tasks.run_key = errors.run_key AND tasks.job_index = errors.job_index
            AND tasks.task_index = errors.task_index
    )
    UNION ALL
    SELECT 1, 'revision ' || number || ' of run ' || run_key || ' has no run'
    FROM revisions
    WHERE NOT EXISTS (SELECT 1 FROM runs WHERE runs.run_key = revisions.run_key)
    UNION ALL
    SELECT 1, 'a run met by walk ' || walk_key || ' has no walk'
    FROM walk_runs
    WHERE walk_key NOT IN (SELECT walk_key FROM walks)
    UNION ALL
    SELECT 2, place || ': ' || time
    FROM times
    WHERE time NOT GLOB '[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9].[0-9][0-9][0-9][0-9][0-9][0-9][0-9]Z'
        OR strftime('%Y-%m-%dT%H:%M:%S', substr(time, 1, 19)) IS NOT substr(time, 1, 19)
    UNION ALL
    -- In milliseconds from ticks of 100 ns, which is how times are written: SQLite's own clock would round them.
    SELECT number, place
    FROM spans
    WHERE length_ms IS NOT iif(
        ended_at >= started_at,
        (
            (unixepoch(substr(ended_at, 1, 19)) - unixepoch(substr(started_at, 1, 19))) * 10000000
            + substr(ended_at, 21, 7) - substr(started_at, 21, 7)
        ) / 10000,
        NULL
    )
    UNION ALL
    SELECT 4, 'jobs of run ' || run_key
    FROM jobs
    GROUP BY run_key
    HAVING min(job_index) <> 0 OR max(job_index) <> count(*) - 1
    UNION ALL
    SELECT 4, 'tasks of job ' || run_key || '/' || job_index
    FROM tasks
    GROUP BY run_key, job_index
    HAVING min(task_index) <> 0 OR max(task_index) <> count(*) - 1
    UNION ALL
    SELECT 6, 'run ' || run_key
    FROM runs
    WHERE has_failure <> (run_key IN (SELECT run_key FROM failures))
    UNION ALL
    SELECT 7, 'run ' || run_key || ': ' || coalesce(description_key, error_code, 'an error') || ' is not noted'
    FROM (SELECT * FROM error_rows EXCEPT SELECT * FROM noted_rows)
    UNION ALL
    SELECT 7, 'run ' || run_key || ': ' || coalesce(description_key, error_code, 'an error') || ' is noted'
    FROM (SELECT * FROM noted_rows EXCEPT SELECT * FROM error_rows)
    UNION ALL
    SELECT 8, place
    FROM extras
    WHERE NOT json_valid(extra) OR substr(extra, 1, 1) <> '{'
    UNION ALL
    SELECT 9, 'connection ' || id || ': ' || listed || ' noted, ' || there || ' there'
    FROM (
        SELECT
            connections.id,
            listed,
            (
                SELECT count(*) FROM runs
                WHERE runs.connection_key = checkpoints.connection_key AND unlisted_at IS NULL
            ) AS there
        FROM checkpoints
            JOIN connections ON connections.connection_key = checkpoints.connection_key
    )
    WHERE listed <> there
    UNION ALL
    SELECT 9, 'connection ' || connections.id || ': ' || pruned || ' noted as pruned'
    FROM checkpoints
        JOIN connections ON connections.connection_key = checkpoints.connection_key
    WHERE pruned <> (
        SELECT count(*) FROM pruned_runs WHERE pruned_runs.connection_key = checkpoints.connection_key
    )
    UNION ALL
    -- A run that changed may have given up the newest start, so that none may be newer is all that holds.
    SELECT 10, 'connection ' || connections.id
    FROM checkpoints
        JOIN connections ON connections.connection_key = checkpoints.connection_key
    WHERE coalesce(newest_started_at, '') < (
        SELECT coalesce(max(started_at), '') FROM runs
        WHERE runs.connection_key = checkpoints.connection_key
    )
    UNION ALL
    SELECT 11, 'run ' || run_key
    FROM runs
    WHERE not_found_at IS NOT NULL AND unlisted_at IS NULL
    UNION ALL
    SELECT 12, 'revisions of run ' || run_key
    FROM revisions
    GROUP BY run_key
    -- The oldest may have been pruned.
    HAVING min(number) < 1 OR max(number) - min(number) + 1 <> count(*) OR min(json_valid(content)) = 0
    UNION ALL
    SELECT 12, 'revision ' || number || ' of run ' || revisions.run_key || ' is another run''s'
    FROM revisions
        JOIN runs ON runs.run_key = revisions.run_key
    WHERE CASE WHEN json_valid(content) THEN json_extract(content, '$.id') END IS NOT runs.id
    UNION ALL
    SELECT 13, 'walk ' || walk_key
    FROM walks
    WHERE (complete AND (ended_at IS NULL OR checkpoint IS NOT NULL)) OR complete = (reason IS NOT NULL)
    UNION ALL
    SELECT 14, 'connection ' || id
    FROM connections
    WHERE connection_key NOT IN (SELECT connection_key FROM checkpoints)
        OR instr(name, coalesce(nullif(display_name, ''), id)) = 0
    UNION ALL
    SELECT 14, 'the name ' || name
    FROM connections
    WHERE name IS NOT NULL
    GROUP BY name
    -- The same id may be one of each kind.
    HAVING count(*) > 1 AND count(DISTINCT id) > 1
    UNION ALL
    SELECT 15, 'drift ' || drift_key
    FROM drift
    WHERE runs < 1 OR NOT EXISTS (SELECT 1 FROM runs WHERE run_key = example_run_key)
    UNION ALL
    SELECT 16, place
    FROM words
    WHERE NOT is_known
    UNION ALL
    SELECT 16, place
    FROM counts
    WHERE least < 0
    UNION ALL
    SELECT 16, 'gap ' || gap_key
    FROM gaps
    WHERE until <= after
    UNION ALL
    SELECT 17, place
    FROM places
    WHERE json IS NOT NULL AND (NOT json_valid(json) OR substr(json, 1, 1) <> '{')
    UNION ALL
    SELECT 18, 'run ' || pruned_runs.id
    FROM pruned_runs
        JOIN runs ON runs.connection_key = pruned_runs.connection_key AND runs.id = pruned_runs.id
    UNION ALL
    SELECT 19, 'run ' || run_key || ' is not there'
    FROM runs
    WHERE state IS NOT 'Completed' AND run_key NOT IN (SELECT run_key FROM unfinished_runs)
    UNION ALL
    SELECT 19, 'run ' || run_key || ' is there'
    FROM unfinished_runs
    WHERE NOT EXISTS (
        SELECT 1 FROM runs
        WHERE runs.run_key = unfinished_runs.run_key AND runs.state IS NOT 'Completed'
    )
)
SELECT rule, count(example) AS broken, min(example) AS example
FROM rules
    LEFT JOIN broken ON broken.number = rules.number
GROUP BY rules.number
ORDER BY rules.number;
