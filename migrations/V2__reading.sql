-- What reports and analysts read: how each run came out, what is indexed for it, which runs had which
-- errors, and views that join the rows under stable names.

-- How a run came out, in the words of the reports. Only `Completed` is terminal; both spellings of
-- canceled are one; a result that this version does not know is 'undetermined'.
ALTER TABLE runs ADD COLUMN outcome TEXT GENERATED ALWAYS AS (
    CASE
        WHEN state IS NOT 'Completed' THEN 'unfinished'
        WHEN result = 'Success' THEN 'succeeded'
        WHEN result = 'PartialSuccess' THEN 'partly succeeded'
        WHEN result IN ('Error', 'TimedOut') THEN 'failed'
        WHEN result IN ('Canceled', 'Cancelled') THEN 'canceled'
        WHEN result = 'Skipped' THEN 'skipped'
        ELSE 'undetermined'
    END
) VIRTUAL;

-- What a run's jobs and tasks add up to, written with them in one transaction, so that no question has
-- to read them all. From its start to the start of its first job, where that is not before it:
ALTER TABLE runs ADD COLUMN queue_ms INTEGER;
-- 1: a job or task of it failed or carries an error, whatever the run itself says.
ALTER TABLE runs ADD COLUMN has_failure INTEGER NOT NULL DEFAULT 0;

UPDATE runs
SET
    -- In ticks of 100 ns, as the program subtracts: SQLite's own clock would round.
    queue_ms = (
        SELECT (
            (unixepoch(substr(first, 1, 19)) - unixepoch(substr(runs.started_at, 1, 19))) * 10000000
            + substr(first, 21, 7) - substr(runs.started_at, 21, 7)
        ) / 10000
        FROM (SELECT min(jobs.started_at) AS first FROM jobs WHERE jobs.run_key = runs.run_key)
        WHERE first >= runs.started_at
    ),
    has_failure = EXISTS (
        SELECT 1 FROM jobs
        WHERE jobs.run_key = runs.run_key AND jobs.result IN ('Error', 'TimedOut')
    )
    OR EXISTS (
        SELECT 1 FROM tasks
        WHERE tasks.run_key = runs.run_key AND tasks.result IN ('Error', 'TimedOut')
    )
    OR EXISTS (SELECT 1 FROM errors WHERE errors.run_key = runs.run_key);

-- Holds all that rates and durations need. The outcome stands before the time, so that counting the
-- runs of one outcome in a period is one range of the index: every run of a year in 50 ms.
CREATE INDEX runs_by_outcome ON runs (
    connection_key, outcome, started_at, duration_ms, queue_ms, has_failure
);

-- What retries are found by; small, because it holds the exceptions only. The words of its predicate are
-- repeated by the queries that use it.
CREATE INDEX tasks_retried ON tasks (run_key, retry_attempts) WHERE retry_attempts > 0;

-- So that what the platform no longer lists is counted without reading the rest.
CREATE INDEX runs_unlisted ON runs (connection_key) WHERE unlisted_at IS NOT NULL;

-- The errors that ever occurred, one row for each that differs in one of these.
CREATE TABLE error_kinds (
    error_kind_key  INTEGER PRIMARY KEY,
    error_code      TEXT,
    description_key TEXT,
    can_user_fix    INTEGER
) STRICT;

CREATE INDEX error_kinds_by_code ON error_kinds (error_code, description_key, can_user_fix);

-- Which run had which error: `errors` once more, narrow and in the order of questions, so that a
-- ranking over years need not read messages. Written with the run, in its transaction. Runs without a
-- start are in no period, and not here.
CREATE TABLE error_runs (
    error_kind_key INTEGER NOT NULL REFERENCES error_kinds,
    connection_key INTEGER NOT NULL REFERENCES connections,
    started_at     TEXT    NOT NULL, -- of the run
    run_key        INTEGER NOT NULL,
    tasks          INTEGER NOT NULL, -- of the run that had it
    PRIMARY KEY (error_kind_key, connection_key, started_at, run_key)
) STRICT, WITHOUT ROWID;

INSERT INTO error_kinds (error_code, description_key, can_user_fix)
SELECT DISTINCT error_code, description_key, can_user_fix
FROM errors;

INSERT INTO error_runs (error_kind_key, connection_key, started_at, run_key, tasks)
SELECT error_kind_key, runs.connection_key, runs.started_at, errors.run_key, count(*)
FROM errors
    JOIN runs ON runs.run_key = errors.run_key
    JOIN error_kinds ON error_kinds.error_code IS errors.error_code
        AND error_kinds.description_key IS errors.description_key
        AND error_kinds.can_user_fix IS errors.can_user_fix
WHERE runs.started_at IS NOT NULL
GROUP BY error_kind_key, runs.connection_key, runs.started_at, errors.run_key;

-- A run with its connection, and what its jobs and tasks add up to.
CREATE VIEW run_details AS
SELECT
    runs.run_key,
    runs.connection_key,
    connections.id AS connection_id,
    coalesce(connections.display_name, connections.id) AS connection,
    runs.id AS run_id,
    runs.state,
    runs.result,
    runs.outcome,
    runs.started_at,
    runs.ended_at,
    runs.duration_ms,
    runs.queue_ms,
    (SELECT count(*) FROM jobs WHERE jobs.run_key = runs.run_key) AS jobs,
    (SELECT count(*) FROM tasks WHERE tasks.run_key = runs.run_key) AS tasks,
    (SELECT count(*) FROM errors WHERE errors.run_key = runs.run_key) AS errors,
    (
        SELECT coalesce(sum(retry_attempts), 0)
        FROM tasks
        WHERE tasks.run_key = runs.run_key AND retry_attempts > 0
    ) AS retry_attempts,
    runs.has_failure,
    runs.outcome = 'succeeded' AND runs.has_failure AS is_masked,
    runs.first_seen_at,
    runs.unlisted_at
FROM runs
    JOIN connections ON connections.connection_key = runs.connection_key;

-- A job with its run and connection.
CREATE VIEW job_details AS
SELECT
    jobs.run_key,
    jobs.job_index,
    runs.connection_key,
    connections.id AS connection_id,
    coalesce(connections.display_name, connections.id) AS connection,
    runs.id AS run_id,
    runs.outcome AS run_outcome,
    runs.started_at AS run_started_at,
    jobs.id AS job_id,
    jobs.state,
    jobs.result,
    jobs.started_at,
    jobs.ended_at,
    jobs.duration_ms,
    jobs.connector_type
FROM jobs
    JOIN runs ON runs.run_key = jobs.run_key
    JOIN connections ON connections.connection_key = runs.connection_key;

-- A task with its job, run and connection, and its error where it has one.
CREATE VIEW task_details AS
SELECT
    tasks.run_key,
    tasks.job_index,
    tasks.task_index,
    runs.connection_key,
    connections.id AS connection_id,
    coalesce(connections.display_name, connections.id) AS connection,
    runs.id AS run_id,
    runs.outcome AS run_outcome,
    runs.started_at AS run_started_at,
    jobs.id AS job_id,
    jobs.connector_type,
    tasks.id AS task_id,
    tasks.state,
    tasks.result,
    tasks.started_at,
    tasks.ended_at,
    tasks.duration_ms,
    tasks.retry_attempts,
    tasks.export_output_file_id,
    errors.run_key IS NOT NULL AS has_error,
    errors.error_code,
    errors.description_key
FROM tasks
    JOIN jobs ON jobs.run_key = tasks.run_key AND jobs.job_index = tasks.job_index
    JOIN runs ON runs.run_key = tasks.run_key
    JOIN connections ON connections.connection_key = runs.connection_key
    LEFT JOIN errors ON errors.run_key = tasks.run_key
        AND errors.job_index = tasks.job_index
        AND errors.task_index = tasks.task_index;

-- An error with the task, job, run and connection that had it. The platform spells its systems in
-- several ways, which are one here; an empty link is none.
CREATE VIEW error_details AS
SELECT
    errors.run_key,
    errors.job_index,
    errors.task_index,
    runs.connection_key,
    connections.id AS connection_id,
    coalesce(connections.display_name, connections.id) AS connection,
    runs.id AS run_id,
    runs.outcome AS run_outcome,
    runs.started_at AS run_started_at,
    jobs.id AS job_id,
    tasks.id AS task_id,
    tasks.result AS task_result,
    errors.error_code,
    errors.description_key,
    errors.can_user_fix,
    lower(errors.system) AS system,
    errors.phase,
    errors.category,
    errors.description,
    nullif(errors.kb_article_link, '') AS kb_article_link,
    errors.bridge_exit_code,
    errors.message,
    errors.details
FROM errors
    JOIN tasks ON tasks.run_key = errors.run_key
        AND tasks.job_index = errors.job_index
        AND tasks.task_index = errors.task_index
    JOIN jobs ON jobs.run_key = errors.run_key AND jobs.job_index = errors.job_index
    JOIN runs ON runs.run_key = errors.run_key
    JOIN connections ON connections.connection_key = runs.connection_key;
