-- The fleet: what lies above connections, the two kinds of connections that synchronize, what the platform
-- sends that this program did not know, and a digest by which every run proves itself.
--
-- `checkpoints.last_run_id` is from now on what `lastRun` said before the last complete walk, full or not,
-- once that run is archived; '' where it said that no run had begun.

-- iTwins asked for their iModels.
CREATE TABLE itwins (
    itwin_key     INTEGER PRIMARY KEY,
    id            TEXT NOT NULL UNIQUE,
    display_name  TEXT,
    extra         TEXT,          -- what the columns cannot give back of its JSON
    first_seen_at TEXT NOT NULL, -- when the archive first heard of it
    unlisted_at   TEXT           -- when the platform first said that it does not exist
) STRICT;

-- iModels listed below an iTwin, or asked for their connections by themselves.
CREATE TABLE imodels (
    imodel_key    INTEGER PRIMARY KEY,
    id            TEXT NOT NULL UNIQUE,
    itwin_id      TEXT,          -- the iTwin that lists it; NULL: none was asked
    display_name  TEXT,
    extra         TEXT,          -- what the columns cannot give back of its JSON
    first_seen_at TEXT NOT NULL, -- when the archive first heard of it
    asked_at      TEXT,          -- when it was last asked for its connections: the one asked longest ago is next
    unlisted_at   TEXT           -- when its iTwin first listed others but not it, or it did not exist
) STRICT;

-- A connection is known by its kind and id from now on, and by a name that tells it from all others. The
-- views read the table, so they go first and come back below.
DROP VIEW run_details;
DROP VIEW job_details;
DROP VIEW task_details;
DROP VIEW error_details;

-- Others refer to the table: that is checked at the end, once its rows are back. The index is for that
-- check alone, which would read the whole of `error_runs` for each connection without it.
PRAGMA defer_foreign_keys = ON;
CREATE INDEX error_runs_for_this_migration ON error_runs (connection_key);
CREATE TABLE old_connections AS SELECT * FROM connections;
DROP TABLE connections;

CREATE TABLE connections (
    connection_key      INTEGER PRIMARY KEY,
    -- 'export', 'storage' or 'manifest': where the platform keeps its runs
    kind                TEXT NOT NULL DEFAULT 'export',
    id                  TEXT NOT NULL,
    -- What reports call it: its display name; with its iModel's, or its id too, where others have the same;
    -- its id where it has none. Made anew at the end of each sync.
    name                TEXT,
    display_name        TEXT,
    imodel_id           TEXT,
    itwin_id            TEXT,
    authentication_type TEXT,
    extra               TEXT,          -- what the columns cannot give back of its JSON
    first_seen_at       TEXT NOT NULL, -- when the archive first heard of it
    unlisted_at         TEXT,          -- when its iModel first listed others but not it, or it did not exist
    UNIQUE (kind, id)
) STRICT;

INSERT INTO connections
SELECT
    connection_key, 'export', id, coalesce(nullif(display_name, ''), id), display_name, imodel_id, itwin_id,
    authentication_type, extra, first_seen_at, unlisted_at
FROM old_connections;

DROP TABLE old_connections;
DROP INDEX error_runs_for_this_migration;

CREATE INDEX connections_by_imodel ON connections (imodel_id, kind);

-- What the Synchronization API says of a run beside the rest.
ALTER TABLE runs ADD COLUMN phase TEXT;             -- 'Preprocessor', 'MasterFile', 'ReferenceFile'
ALTER TABLE runs ADD COLUMN error_key TEXT;         -- of the run's own error, such as 'UserNotAuthenticated'
ALTER TABLE runs ADD COLUMN error_description TEXT; -- of the same
-- XXH3-128 sums over every name and value of the run's JSON, its jobs, tasks and errors: what is stored
-- proves by it that it is what came. NULL: stored by a version that made none.
ALTER TABLE runs ADD COLUMN digest BLOB;
ALTER TABLE tasks ADD COLUMN storage_file_id TEXT;  -- the file that a storage connection's task worked on
ALTER TABLE tasks ADD COLUMN source_file_id TEXT;   -- the file that a manifest connection's task worked on

-- When `lastRun` last said that no run had begun since a complete walk: until then the archive is whole,
-- although nothing was walked.
ALTER TABLE checkpoints ADD COLUMN quiet_at TEXT;

-- What was found and asked, of a sync that looked below iTwins and iModels.
ALTER TABLE syncs ADD COLUMN imodels INTEGER NOT NULL DEFAULT 0;     -- asked for their connections
ALTER TABLE syncs ADD COLUMN connections INTEGER NOT NULL DEFAULT 0; -- that it was for, found or named
-- Of these, those whose `lastRun` said that nothing had begun, so that nothing was asked about them.
ALTER TABLE syncs ADD COLUMN quiet INTEGER NOT NULL DEFAULT 0;

-- When requests were last counted into `requests`: by what a sync sent, however it ended, a next one keeps
-- the platform's limits.
ALTER TABLE syncs ADD COLUMN requested_at TEXT;

-- Fields, values and types that the platform sent and this program did not know: kept whole in `extra` and
-- in the columns, and noted here, because nobody announces them.
CREATE TABLE drift (
    drift_key       INTEGER PRIMARY KEY,
    object          TEXT    NOT NULL, -- 'run', 'job', 'task' or 'error'
    field           TEXT    NOT NULL, -- its name
    what            TEXT    NOT NULL, -- 'field': it is new; 'value': it has a new value; 'type': of another type
    value           TEXT    NOT NULL, -- the new value, or its type; '' for a new field
    first_seen_at   TEXT    NOT NULL,
    runs            INTEGER NOT NULL, -- that carried it
    example_run_key INTEGER NOT NULL REFERENCES runs,
    UNIQUE (object, field, what, value)
) STRICT;

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
