-- What can be told from the rows, told anew, as it is written with a run; repair_span.sql does the lengths of time.
UPDATE runs
SET has_failure = EXISTS (
    SELECT 1
    FROM (SELECT run_key, result FROM jobs UNION ALL SELECT run_key, result FROM tasks) AS parts
    WHERE parts.run_key = runs.run_key AND parts.result IN ('Error', 'TimedOut')
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

UPDATE runs SET unlisted_at = not_found_at WHERE not_found_at IS NOT NULL AND unlisted_at IS NULL;

INSERT OR IGNORE INTO checkpoints (connection_key) SELECT connection_key FROM connections;

UPDATE checkpoints
SET
    listed = (
        SELECT count(*) FROM runs
        WHERE runs.connection_key = checkpoints.connection_key AND unlisted_at IS NULL
    ),
    newest_started_at = nullif(
        max(
            iif(newest_started_at GLOB '????-??-??T??:??:??.???????Z', newest_started_at, ''),
            coalesce(
                (SELECT max(started_at) FROM runs WHERE runs.connection_key = checkpoints.connection_key),
                ''
            )
        ),
        ''
    );

UPDATE checkpoints
SET pruned = (SELECT count(*) FROM pruned_runs WHERE pruned_runs.connection_key = checkpoints.connection_key)
WHERE pruned <> (
    SELECT count(*) FROM pruned_runs WHERE pruned_runs.connection_key = checkpoints.connection_key
);

-- A revision that is no JSON of its run is kept as the text that it is.
UPDATE revisions
SET content = json_object('id', (SELECT id FROM runs WHERE runs.run_key = revisions.run_key), 'extra', content)
WHERE EXISTS (
    SELECT 1 FROM runs
    WHERE runs.run_key = revisions.run_key
        AND CASE WHEN json_valid(content) THEN json_extract(content, '$.id') END IS NOT runs.id
);

DELETE FROM drift WHERE NOT EXISTS (SELECT 1 FROM runs WHERE run_key = example_run_key);

-- What says nothing that can be used is forgotten: the next sync learns it again.
CREATE TEMP TABLE no_times (time TEXT PRIMARY KEY) WITHOUT ROWID;

INSERT OR IGNORE INTO no_times
SELECT time
FROM (
    SELECT watermark AS time FROM checkpoints
    UNION SELECT full_walk_at FROM checkpoints
    UNION SELECT quiet_at FROM checkpoints
    UNION SELECT started_at FROM walks
    UNION SELECT ended_at FROM walks
    UNION SELECT newest_before FROM walks
)
WHERE time NOT GLOB '????-??-??T??:??:??.???????Z' OR julianday(time) IS NULL
    -- The 31st of a month of 30 days.
    OR strftime('%Y-%m-%dT%H:%M:%S', substr(time, 1, 19)) IS NOT substr(time, 1, 19);

UPDATE checkpoints
SET
    watermark = iif(watermark IN (SELECT time FROM no_times), NULL, watermark),
    full_walk_at = iif(full_walk_at IN (SELECT time FROM no_times), NULL, full_walk_at),
    quiet_at = iif(quiet_at IN (SELECT time FROM no_times), NULL, quiet_at),
    listing_order = iif(listing_order IN ('newest first', 'oldest first', 'none'), listing_order, NULL),
    page_size = iif(page_size > 0, page_size, NULL),
    settled_run_key = max(settled_run_key, 0),
    listing_end = iif(json_valid(listing_end) AND substr(listing_end, 1, 1) = '{', listing_end, NULL);

-- A walk that is not as archive writes it cannot be gone on with. Its start is guessed by its sync's.
UPDATE walks
SET
    checkpoint = iif(
        complete = 0 AND started_at NOT IN (SELECT time FROM no_times)
            AND json_valid(checkpoint) AND substr(checkpoint, 1, 1) = '{',
        checkpoint,
        NULL
    ),
    started_at = iif(
        started_at IN (SELECT time FROM no_times),
        coalesce((SELECT syncs.started_at FROM syncs WHERE syncs.sync_key = walks.sync_key), started_at),
        started_at
    ),
    ended_at = iif(ended_at IN (SELECT time FROM no_times), NULL, ended_at),
    newest_before = iif(newest_before IN (SELECT time FROM no_times), NULL, newest_before),
    kind = iif(kind = 'full', 'full', 'incremental'),
    pages = max(pages, 0),
    listed = max(listed, 0),
    set_aside = max(set_aside, 0),
    base_run_key = max(base_run_key, 0),
    times = max(times, 1);

DROP TABLE temp.no_times;

-- What contradicts itself proves nothing: the listing is walked whole again.
UPDATE walks
SET complete = 0, reason = coalesce(reason, 'its row was altered in the archive')
WHERE complete IS NOT 1 OR ended_at IS NULL OR reason IS NOT NULL;

UPDATE checkpoints
SET full_walk_at = NULL
WHERE NOT EXISTS (
    SELECT 1 FROM walks WHERE walks.connection_key = checkpoints.connection_key AND complete = 1
);

UPDATE rejects SET times = max(times, 1);

DELETE FROM walk_runs WHERE walk_key NOT IN (SELECT walk_key FROM walks);

-- A fingerprint that none has: the text that comes next is read, and its own is kept.
UPDATE runs SET fingerprint = zeroblob(16) WHERE length(fingerprint) <> 16;

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
