-- The views, made anew after each migration: a migration changes tables, and this file says how they are read.
-- It changes only together with a new migration, whose number is how an archive knows that its views are older.
DROP VIEW IF EXISTS run_details;
DROP VIEW IF EXISTS job_details;
DROP VIEW IF EXISTS task_details;
DROP VIEW IF EXISTS error_details;
DROP VIEW IF EXISTS connection_coverage;

-- A run with its connection, and what its jobs and tasks add up to.
CREATE VIEW run_details AS
SELECT
    runs.run_key,
    runs.connection_key,
    connections.id AS connection_id,
    coalesce(connections.name, connections.display_name, connections.id) AS connection,
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
    runs.unlisted_at,
    connections.kind,
    runs.phase,
    runs.error_key,
    runs.error_description
FROM runs
    JOIN connections ON connections.connection_key = runs.connection_key;

-- A job with its run and connection.
CREATE VIEW job_details AS
SELECT
    jobs.run_key,
    jobs.job_index,
    runs.connection_key,
    connections.id AS connection_id,
    coalesce(connections.name, connections.display_name, connections.id) AS connection,
    runs.id AS run_id,
    runs.outcome AS run_outcome,
    runs.started_at AS run_started_at,
    jobs.id AS job_id,
    jobs.state,
    jobs.result,
    jobs.started_at,
    jobs.ended_at,
    jobs.duration_ms,
    jobs.connector_type,
    connections.kind
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
    coalesce(connections.name, connections.display_name, connections.id) AS connection,
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
    errors.description_key,
    connections.kind,
    tasks.storage_file_id,
    tasks.source_file_id
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
    coalesce(connections.name, connections.display_name, connections.id) AS connection,
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
    errors.details,
    connections.kind
FROM errors
    JOIN tasks ON tasks.run_key = errors.run_key
        AND tasks.job_index = errors.job_index
        AND tasks.task_index = errors.task_index
    JOIN jobs ON jobs.run_key = errors.run_key AND jobs.job_index = errors.job_index
    JOIN runs ON runs.run_key = errors.run_key
    JOIN connections ON connections.connection_key = runs.connection_key;

-- How far each connection is archived whole: everything that the platform listed at `complete_as_of` is
-- stored. By the order of walks, not by their clock, which may have been wrong once.
CREATE VIEW connection_coverage AS
SELECT
    checkpoints.connection_key,
    coalesce(checkpoints.quiet_at, complete_walk.started_at) AS complete_as_of,
    last_walk.walk_key AS last_walk_key,
    CASE
        WHEN last_walk.complete OR checkpoints.proved_walk_key >= last_walk.walk_key THEN NULL
        ELSE last_walk.reason
    END AS last_problem
FROM checkpoints
    LEFT JOIN walks AS complete_walk ON complete_walk.walk_key = (
        SELECT max(walks.walk_key) FROM walks
        WHERE walks.connection_key = checkpoints.connection_key AND walks.complete = 1
    )
    LEFT JOIN walks AS last_walk ON last_walk.walk_key = (
        SELECT max(walks.walk_key) FROM walks
        WHERE walks.connection_key = checkpoints.connection_key
    );
