-- Makes a week in which something of everything happened out of the archive of `archive demo`, whose week is
-- a calm one. The head of sample.rs says how `sample.json` is made with it.
CREATE TEMP TABLE ends AS
SELECT date(max(started_at), '-7 days') AS since, date(max(started_at)) AS until FROM runs;

-- One connection fails more than before, one less, and one takes longer; a fifth has a long last day.
UPDATE runs SET result = 'Error'
WHERE connection_key = 3 AND state = 'Completed' AND run_key % 3 > 0 AND started_at > (SELECT since FROM ends);
UPDATE runs SET result = iif(started_at > (SELECT since FROM ends), 'Success', 'TimedOut')
WHERE connection_key = 4 AND state = 'Completed' AND started_at > (SELECT date(since, '-7 days') FROM ends);
UPDATE runs SET duration_ms = duration_ms * 6, queue_ms = queue_ms * 8
WHERE connection_key = 4 AND started_at > (SELECT since FROM ends);
UPDATE runs SET result = 'Canceled' WHERE run_key % 23 = 0 AND connection_key = 1;
UPDATE runs SET result = 'PartialSuccess' WHERE run_key % 11 = 0 AND connection_key = 2;
UPDATE runs SET result = 'Skipped' WHERE run_key % 29 = 0 AND connection_key = 5;
UPDATE runs SET result = 'Unheard' WHERE run_key % 31 = 0 AND connection_key = 5;

-- Runs that say Success, and hide what failed.
UPDATE runs SET has_failure = 1
WHERE result = 'Success' AND connection_key IN (1, 5) AND run_key % 5 = 0;
UPDATE tasks SET result = 'TimedOut' WHERE run_key IN (SELECT run_key FROM runs WHERE has_failure AND run_key % 5 = 0);

-- An error that nobody says who can act on, one that came back, one that is gone, one with an article.
UPDATE error_kinds SET can_user_fix = NULL WHERE description_key = 'RunOrchestrationError';
UPDATE errors SET can_user_fix = NULL WHERE description_key = 'RunOrchestrationError';
DELETE FROM error_runs
WHERE error_kind_key = 5 AND started_at BETWEEN (SELECT date(since, '-7 days') FROM ends) AND (SELECT since FROM ends);
DELETE FROM error_runs
WHERE error_kind_key = 3 AND started_at > (SELECT since FROM ends);
UPDATE errors SET kb_article_link = 'https://help.example.com/errors/saved-view' WHERE can_user_fix;

-- A connection of another kind that never finished a run.
INSERT INTO connections (connection_key, kind, id, name, display_name, first_seen_at)
SELECT 6, 'storage', 'pilot', 'Pilot', 'Pilot', first_seen_at FROM connections WHERE connection_key = 1;
INSERT INTO checkpoints (connection_key, listed) VALUES (6, 3);
INSERT INTO runs (connection_key, id, state, started_at, fingerprint, first_seen_at, unlisted_at)
SELECT 6, 'pilot-' || run_key, 'Running', started_at, x'00', first_seen_at, iif(run_key % 2 = 0, first_seen_at, NULL)
FROM runs
WHERE connection_key = 1 AND started_at > (SELECT date(until, '-3 days') FROM ends)
LIMIT 3;
INSERT INTO runs (connection_key, id, state, fingerprint, first_seen_at)
SELECT 6, 'pilot-without-start', 'Queued', x'01', first_seen_at FROM connections WHERE connection_key = 1;
INSERT INTO unfinished_runs (run_key, changed_at, answered_at)
SELECT run_key, first_seen_at, first_seen_at FROM runs WHERE connection_key = 6;

-- A connection that stopped running ten days before the end.
INSERT INTO connections (connection_key, kind, id, name, display_name, first_seen_at)
SELECT 7, 'manifest', 'yard', 'Yard', 'Yard', first_seen_at FROM connections WHERE connection_key = 1;
INSERT INTO checkpoints (connection_key, quiet_at) SELECT 7, max(ended_at) FROM walks;
INSERT INTO runs (connection_key, id, state, result, started_at, ended_at, duration_ms, fingerprint, first_seen_at)
SELECT 7, 'yard-' || run_key, 'Completed', 'Success', started_at, ended_at, duration_ms, x'00', first_seen_at
FROM runs
WHERE connection_key = 5 AND started_at < (SELECT date(until, '-10 days') FROM ends);

-- What the archive stands on: a gap, records set aside, drift, a walk that broke off, a connection that is
-- gone, one whose clock was wrong, and what was pruned.
INSERT INTO gaps (connection_key, walk_key, after, until, noticed_at)
SELECT 2, 1, since || 'T03:00:00.0000000Z', since || 'T09:30:00.0000000Z', since || 'T10:00:00.0000000Z' FROM ends;
INSERT INTO rejects (connection_key, rejected_at, version, reason, raw, fingerprint)
SELECT 2, until || 'T10:00:00.0000000Z', '0.1.0', 'the run has no id', '{}', x'02' FROM ends;
INSERT INTO drift (object, field, what, value, first_seen_at, runs, example_run_key)
SELECT 'run', 'priority', 'field', '', until || 'T00:00:00.0000000Z', 12, 1 FROM ends
UNION ALL
SELECT 'job', 'result', 'value', 'Unheard', date(until, '-60 days') || 'T00:00:00.0000000Z', 7, 2 FROM ends
UNION ALL
SELECT 'task', 'resultUrl', 'volatile', 'URL', until || 'T01:00:00.0000000Z', 3, 3 FROM ends;
INSERT INTO walks (connection_key, sync_key, kind, started_at, ended_at, reason, base_run_key)
SELECT 5, 2, 'incremental', started_at, ended_at, 'the time budget ran out', 0 FROM walks WHERE walk_key = 10;
UPDATE connections SET unlisted_at = (SELECT max(ended_at) FROM walks) WHERE connection_key = 5;
UPDATE walks SET started_at = '2030-01-01T00:00:00.0000000Z'
WHERE walk_key = (SELECT max(walk_key) FROM walks WHERE connection_key = 1);
UPDATE syncs SET outcome = 'partial', exit_code = 3, problem = 'the time budget ran out' WHERE sync_key = 2;
INSERT INTO prunes (prune_key, pruned_at, before, runs)
SELECT 1, until || 'T08:00:00.0000000Z', date(since, '-180 days') || 'T00:00:00.0000000Z', 120 FROM ends;
UPDATE checkpoints SET pruned = 120, prune_key = 1 WHERE connection_key = 1;
