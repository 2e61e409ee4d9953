-- Failure rates by connection
--
-- How often the runs of each connection failed: failed / (succeeded + partly succeeded + failed), of
-- the terminal runs that started in the period. Connections without runs are listed too.
--
-- Parameters:
--   :since       start of the period, an instant; default: the first run
--   :until       its end, not included; default: after the last run
--   :connection  a connection's id, or a JSON array of ids; default: all
--
-- Columns:
--   connection        its name, or its id where it has none
--   connection_id     its id
--   runs              runs that started in the period
--   succeeded         of these, by how they came out
--   partly_succeeded  see `succeeded`
--   failed            result Error or TimedOut
--   canceled          shown, not rated
--   skipped           shown, not rated
--   undetermined      a result that says nothing; not rated
--   unfinished        not terminal; not rated
--   rated             succeeded + partly succeeded + failed
--   failure_rate      failed / rated, from 0 to 1; NULL where nothing was rated
WITH chosen AS (
    SELECT connection_key, id AS connection_id, coalesce(name, display_name, id) AS connection
    FROM connections
    WHERE :connection IS NULL
        OR id IN (
            SELECT value
            FROM json_each(iif(:connection LIKE '[%', :connection, json_array('' || :connection)))
        )
),
-- Counting the runs of one outcome in a period is one range of the index runs_by_outcome.
counted AS MATERIALIZED (
    SELECT
        connection,
        connection_id,
        (
            SELECT count(*)
            FROM runs
            WHERE runs.connection_key = chosen.connection_key AND outcome = 'succeeded'
                AND started_at >= coalesce(:since, '') AND started_at < coalesce(:until, '~')
        ) AS succeeded,
        (
            SELECT count(*)
            FROM runs
            WHERE runs.connection_key = chosen.connection_key AND outcome = 'partly succeeded'
                AND started_at >= coalesce(:since, '') AND started_at < coalesce(:until, '~')
        ) AS partly_succeeded,
        (
            SELECT count(*)
            FROM runs
            WHERE runs.connection_key = chosen.connection_key AND outcome = 'failed'
                AND started_at >= coalesce(:since, '') AND started_at < coalesce(:until, '~')
        ) AS failed,
        (
            SELECT count(*)
            FROM runs
            WHERE runs.connection_key = chosen.connection_key AND outcome = 'canceled'
                AND started_at >= coalesce(:since, '') AND started_at < coalesce(:until, '~')
        ) AS canceled,
        (
            SELECT count(*)
            FROM runs
            WHERE runs.connection_key = chosen.connection_key AND outcome = 'skipped'
                AND started_at >= coalesce(:since, '') AND started_at < coalesce(:until, '~')
        ) AS skipped,
        (
            SELECT count(*)
            FROM runs
            WHERE runs.connection_key = chosen.connection_key AND outcome = 'undetermined'
                AND started_at >= coalesce(:since, '') AND started_at < coalesce(:until, '~')
        ) AS undetermined,
        (
            SELECT count(*)
            FROM runs
            WHERE runs.connection_key = chosen.connection_key AND outcome = 'unfinished'
                AND started_at >= coalesce(:since, '') AND started_at < coalesce(:until, '~')
        ) AS unfinished
    FROM chosen
)
SELECT
    connection,
    connection_id,
    succeeded + partly_succeeded + failed + canceled + skipped + undetermined + unfinished AS runs,
    succeeded,
    partly_succeeded,
    failed,
    canceled,
    skipped,
    undetermined,
    unfinished,
    succeeded + partly_succeeded + failed AS rated,
    failed * 1.0 / nullif(succeeded + partly_succeeded + failed, 0) AS failure_rate
FROM counted
ORDER BY failed DESC, connection, connection_id;
