-- The archive: what the platform said of its export runs, and how far that is whole.
--
-- Keys (`*_key`) are integers of this file; ids are the platform's own, opaque, compared byte by byte.
-- Times are UTC text of one width, `2023-09-14T12:00:09.8010860Z`: text order is time order.
-- `extra` is a JSON object with what the columns beside it cannot give back: fields this version does
-- not know, values of another type, times in another form, explicit nulls. Columns and `extra` joined
-- are the object as the platform sent it.

-- One row per run of `archive sync` or `archive import`, written before its first request.
CREATE TABLE syncs (
    sync_key   INTEGER PRIMARY KEY,
    command    TEXT    NOT NULL,           -- 'sync' or 'import'
    version    TEXT    NOT NULL,           -- of the program
    started_at TEXT    NOT NULL,
    ended_at   TEXT,                       -- NULL while it runs, and where it was killed
    outcome    TEXT    NOT NULL,           -- 'running', 'done', 'partial', 'failed', 'interrupted'
    exit_code  INTEGER,
    problem    TEXT,                       -- the worst thing that went wrong, as it was told
    requests   INTEGER NOT NULL DEFAULT 0, -- sent, retries included
    pages      INTEGER NOT NULL DEFAULT 0, -- of runs received (for an import: read)
    listed     INTEGER NOT NULL DEFAULT 0, -- runs met, each counted once per walk
    new        INTEGER NOT NULL DEFAULT 0, -- runs stored for the first time
    changed    INTEGER NOT NULL DEFAULT 0, -- runs whose content differed from the archived one
    rejected   INTEGER NOT NULL DEFAULT 0  -- runs set aside in `rejects`
) STRICT;

CREATE TABLE connections (
    connection_key      INTEGER PRIMARY KEY,
    id                  TEXT NOT NULL UNIQUE,
    display_name        TEXT,
    imodel_id           TEXT,
    itwin_id            TEXT,
    authentication_type TEXT,
    extra               TEXT,          -- the connection's JSON as it was sent
    first_seen_at       TEXT NOT NULL, -- when the archive first heard of it
    unlisted_at         TEXT           -- when the platform first said that it does not exist
) STRICT;

-- What syncing has learned of a connection. Nothing here comes from the platform as it is.
CREATE TABLE checkpoints (
    connection_key    INTEGER PRIMARY KEY REFERENCES connections,
    listing_order     TEXT,                       -- 'newest first', 'oldest first', 'none'; NULL: not seen yet
    page_size         INTEGER,                    -- the largest `$top` that was not refused, once one was
    settled_run_key   INTEGER NOT NULL DEFAULT 0, -- runs up to this key lie where walks have proved all stored,
    watermark         TEXT,                       -- as far as they started up to this
    full_walk_at      TEXT,                       -- when the last complete full walk began
    listed            INTEGER NOT NULL DEFAULT 0, -- archived runs that are not known to be unlisted
    listing_end       TEXT,                       -- JSON: where the listing ended when last seen
    last_run_id       TEXT,                       -- `lastRun` as it was before the last full walk
    newest_started_at TEXT                        -- the newest start stored
) STRICT;

-- One row per listing walked.
CREATE TABLE walks (
    walk_key       INTEGER PRIMARY KEY,
    connection_key INTEGER NOT NULL REFERENCES connections,
    sync_key       INTEGER NOT NULL REFERENCES syncs, -- the sync that began it
    kind           TEXT    NOT NULL,           -- 'full', or 'incremental': up to runs that a full one proved
    started_at     TEXT    NOT NULL,
    ended_at       TEXT,
    complete       INTEGER NOT NULL DEFAULT 0, -- 1: everything listed throughout it is stored, proved by ids
    reason         TEXT,                       -- why it is not complete
    pages          INTEGER NOT NULL DEFAULT 0,
    listed         INTEGER NOT NULL DEFAULT 0, -- runs met, each counted once
    set_aside      INTEGER NOT NULL DEFAULT 0, -- records met that are no run this archive could match
    base_run_key   INTEGER NOT NULL,           -- the newest run key when it began: later ones it need not meet
    newest_before  TEXT,                       -- the newest start proved stored before it, to tell gaps by
    checkpoint     TEXT                        -- JSON: where a later sync goes on; NULL: nowhere
) STRICT;

CREATE INDEX walks_by_connection ON walks (connection_key, walk_key);

-- Runs met by a full walk that were archived before it, so that what it did not meet can be told at
-- its end. Rows go when their walk ends; runs that the walk itself stored first carry its key instead.
CREATE TABLE walk_runs (
    walk_key INTEGER NOT NULL,
    run_key  INTEGER NOT NULL,
    PRIMARY KEY (walk_key, run_key)
) STRICT, WITHOUT ROWID;

CREATE TABLE runs (
    run_key        INTEGER PRIMARY KEY,
    connection_key INTEGER NOT NULL REFERENCES connections,
    id             TEXT    NOT NULL,
    state          TEXT,             -- as sent; `Completed` is the only terminal one
    result         TEXT,             -- as sent
    started_at     TEXT,
    ended_at       TEXT,
    duration_ms    INTEGER,          -- end minus start, where both are real and in that order
    extra          TEXT,
    fingerprint    BLOB    NOT NULL, -- XXH3-128 of the text last received: an equal text is no change
    first_seen_at  TEXT    NOT NULL, -- when the archive first stored it
    walk_key       INTEGER,          -- the walk that first stored it; NULL: an import, or asked for by id
    unlisted_at    TEXT,             -- when a complete walk first missed it, or its id answered 404
    not_found_at   TEXT,             -- when its id answered 404
    UNIQUE (connection_key, id)
) STRICT;

-- The words of this predicate are repeated by the queries that use it.
CREATE INDEX runs_unfinished ON runs (connection_key) WHERE state IS NOT 'Completed';

-- A job is its place and id inside the run, a task inside the job: places count from 0.
CREATE TABLE jobs (
    run_key        INTEGER NOT NULL REFERENCES runs,
    job_index      INTEGER NOT NULL,
    id             TEXT,
    state          TEXT,
    result         TEXT,
    started_at     TEXT,
    ended_at       TEXT,
    duration_ms    INTEGER,
    connector_type TEXT,
    extra          TEXT,
    PRIMARY KEY (run_key, job_index)
) STRICT, WITHOUT ROWID;

CREATE TABLE tasks (
    run_key               INTEGER NOT NULL,
    job_index             INTEGER NOT NULL,
    task_index            INTEGER NOT NULL,
    id                    TEXT,
    state                 TEXT,
    result                TEXT,
    started_at            TEXT,
    ended_at              TEXT,
    duration_ms           INTEGER,
    retry_attempts        INTEGER,
    export_output_file_id TEXT,
    extra                 TEXT,
    PRIMARY KEY (run_key, job_index, task_index),
    FOREIGN KEY (run_key, job_index) REFERENCES jobs
) STRICT, WITHOUT ROWID;

-- The error object of a task; a task that succeeded may carry one.
CREATE TABLE errors (
    run_key          INTEGER NOT NULL,
    job_index        INTEGER NOT NULL,
    task_index       INTEGER NOT NULL,
    error_code       TEXT,
    message          TEXT,
    details          TEXT,
    bridge_exit_code INTEGER,
    system           TEXT,
    phase            TEXT,
    category         TEXT,
    description_key  TEXT,    -- the stable key; `description` is filled in with values that vary
    description      TEXT,
    kb_article_link  TEXT,    -- often empty, which is not NULL
    can_user_fix     INTEGER, -- 0 or 1
    extra            TEXT,
    PRIMARY KEY (run_key, job_index, task_index),
    FOREIGN KEY (run_key, job_index, task_index) REFERENCES tasks
) STRICT, WITHOUT ROWID;

-- A run's content as it stood before a change.
CREATE TABLE revisions (
    run_key     INTEGER NOT NULL REFERENCES runs,
    number      INTEGER NOT NULL, -- counts from 1, oldest first
    replaced_at TEXT    NOT NULL,
    content     TEXT    NOT NULL, -- the run's JSON
    PRIMARY KEY (run_key, number)
) STRICT;

-- What could not be read as a run; retried by later versions.
CREATE TABLE rejects (
    reject_key     INTEGER PRIMARY KEY,
    connection_key INTEGER NOT NULL REFERENCES connections,
    rejected_at    TEXT    NOT NULL,
    version        TEXT    NOT NULL, -- of the program that could not read it
    reason         TEXT    NOT NULL,
    raw            TEXT    NOT NULL, -- exactly as received
    fingerprint    BLOB    NOT NULL, -- of `raw`: the same text is kept once
    UNIQUE (connection_key, fingerprint)
) STRICT;

-- Times in which runs may have come and gone unseen: the platform's oldest listed run was newer than
-- the newest archived one.
CREATE TABLE gaps (
    gap_key        INTEGER PRIMARY KEY,
    connection_key INTEGER NOT NULL REFERENCES connections,
    walk_key       INTEGER NOT NULL REFERENCES walks,
    after          TEXT    NOT NULL, -- start of the newest run archived before
    until          TEXT    NOT NULL, -- start of the oldest run listed then
    noticed_at     TEXT    NOT NULL
) STRICT;
