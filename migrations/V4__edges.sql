-- The edges: what was pruned, what was set aside again and again, how old the oldest answer about an
-- unfinished run is, and one home for how far a connection is archived whole.

-- A run that `archive prune` took out. It counts as archived: it neither comes back nor makes a gap.
CREATE TABLE pruned_runs (
    connection_key INTEGER NOT NULL REFERENCES connections (connection_key),
    id             TEXT    NOT NULL, -- the platform's
    started_at     TEXT,             -- of the run, so that reports say which period lacks it
    outcome        TEXT    NOT NULL, -- how it came out, in the words of the reports
    run_key        INTEGER NOT NULL, -- that it had: walks count it by this key, and no other run is given it
    prune_key      INTEGER NOT NULL REFERENCES prunes (prune_key),
    PRIMARY KEY (connection_key, id)
) STRICT, WITHOUT ROWID;

-- One row per `archive prune` that took something out.
CREATE TABLE prunes (
    prune_key INTEGER PRIMARY KEY,
    pruned_at TEXT    NOT NULL,
    before    TEXT    NOT NULL,           -- what was older than this went
    runs      INTEGER NOT NULL DEFAULT 0, -- with their jobs, tasks and errors
    revisions INTEGER NOT NULL DEFAULT 0,
    rejects   INTEGER NOT NULL DEFAULT 0,
    walks     INTEGER NOT NULL DEFAULT 0,
    newest_run_key INTEGER NOT NULL DEFAULT 0 -- the newest run key then: what is stored later is given a later one
) STRICT;

-- How many runs of a connection were pruned, and by which prune last: counted, so that no report has to.
ALTER TABLE checkpoints ADD COLUMN pruned INTEGER NOT NULL DEFAULT 0;
ALTER TABLE checkpoints ADD COLUMN prune_key INTEGER REFERENCES prunes (prune_key);

-- Runs that are not terminal: what asking for them again has brought. A row goes when its run completes.
CREATE TABLE unfinished_runs (
    run_key     INTEGER PRIMARY KEY REFERENCES runs (run_key),
    changed_at  TEXT NOT NULL, -- when it was first stored, or last moved
    answered_at TEXT NOT NULL, -- when the platform last answered about it: in a listing, or by its id
    asked_at    TEXT           -- when it was last asked for by its id; NULL: never
) STRICT;

INSERT INTO unfinished_runs (run_key, changed_at, answered_at)
SELECT
    run_key,
    coalesce((SELECT max(replaced_at) FROM revisions WHERE revisions.run_key = runs.run_key), first_seen_at),
    coalesce((SELECT max(replaced_at) FROM revisions WHERE revisions.run_key = runs.run_key), first_seen_at)
FROM runs
WHERE state IS NOT 'Completed';

-- The same text set aside again is counted here, not stored again.
ALTER TABLE rejects ADD COLUMN times INTEGER NOT NULL DEFAULT 1; -- how often it was received
ALTER TABLE rejects ADD COLUMN last_seen_at TEXT;                -- when it was last; NULL: only once

-- A walk that brought nothing and ended like the one on record before it is counted there: an outage of a
-- month is a row. A complete walk that brought nothing has no row: `checkpoints.quiet_at` tells of it.
ALTER TABLE walks ADD COLUMN times INTEGER NOT NULL DEFAULT 1;

-- The newest walk on record when the connection was last proved whole, by a walk or by `lastRun`: what that
-- walk had against it is over. NULL where a walk ended since that is counted on a row of before.
ALTER TABLE checkpoints ADD COLUMN proved_walk_key INTEGER;

-- Where a later sync goes on, found without reading the others. A checkpoint that a later full walk has
-- passed is none.
UPDATE walks
SET checkpoint = NULL
WHERE checkpoint IS NOT NULL
    AND walk_key < (
        SELECT max(walk_key) FROM walks AS newer
        WHERE newer.connection_key = walks.connection_key AND newer.kind = 'full'
    );

CREATE INDEX walks_open ON walks (connection_key, walk_key) WHERE checkpoint IS NOT NULL;

-- `quiet_at` is from now on what came after the last complete walk: a complete walk clears it. So what is
-- newer is told by the order in which things happened, whatever the clock showed.
UPDATE checkpoints
SET quiet_at = NULL
WHERE quiet_at <= (
    SELECT started_at FROM walks
    WHERE walks.connection_key = checkpoints.connection_key AND complete
    ORDER BY walk_key DESC
    LIMIT 1
);

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

-- So that the newest complete walk is one look into an index.
CREATE INDEX walks_complete ON walks (connection_key, walk_key) WHERE complete = 1;

-- So that a run that is pruned finds the note whose example it is.
CREATE INDEX drift_examples ON drift (example_run_key);

-- What a run's errors are found by when it changes or goes, whatever stands in the rows.
CREATE INDEX error_runs_by_run ON error_runs (run_key);
