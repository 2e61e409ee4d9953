-- Failure rates by week
--
-- How often runs failed, week by week, of all chosen connections together; a week without runs is a
-- row too.
--
-- Parameters:
--   :since       start of the period, an instant; default: the first run, at most ten years before
--                  the last
--   :until       its end, not included; default: the end of the last run's week, at most ten
--                  years after :since
--   :connection  a connection's id, or a JSON array of ids; default: all
--   :bounds      JSON array of the instants at which each week begins, and the last one ends;
--                  default: the weeks of UTC, from Monday, from :since to :until
--
-- Columns:
--   since             start of the week
--   until             its end, not included
--   runs              runs that started in it
--   succeeded         of these, by how they came out
--   partly_succeeded  see `succeeded`
--   failed            result Error or TimedOut
--   canceled          shown, not rated
--   skipped           shown, not rated
--   undetermined      a result that says nothing; not rated
--   unfinished        not terminal; not rated
--   rated             succeeded + partly succeeded + failed
--   failure_rate      failed / rated, from 0 to 1; NULL where nothing was rated
WITH RECURSIVE chosen AS (
    SELECT connection_key, id AS connection_id, coalesce(name, display_name, id) AS connection
    FROM connections
    WHERE :connection IS NULL
        OR id IN (
            SELECT value
            FROM json_each(iif(:connection LIKE '[%', :connection, json_array('' || :connection)))
        )
),
outcomes (outcome) AS (
    VALUES ('succeeded'), ('partly succeeded'), ('failed'), ('canceled'), ('skipped'),
        ('undetermined'), ('unfinished')
),
-- The first and the last start, each found at the edge of the index.
edges AS (
    SELECT
        (SELECT min(started_at) FROM runs WHERE connection_key = chosen.connection_key
            AND outcome = outcomes.outcome AND started_at >= '') AS first,
        (SELECT max(started_at) FROM runs WHERE connection_key = chosen.connection_key
            AND outcome = outcomes.outcome AND started_at >= '') AS last
    FROM chosen
        CROSS JOIN outcomes
),
-- Ten years are enough where nobody says since when: a wrong clock may have dated a run anywhere.
span AS (
    SELECT
        coalesce(:since, max(min(first), strftime('%Y-%m-%dT00:00:00.0000000Z',
            substr(coalesce(:until, max(last)), 1, 10), '-10 years'))) AS since,
        -- The end of its week; the calendar has none for the last one of the year 9999.
        coalesce(
            :until,
            min(
                coalesce(
                    date(substr(max(last), 1, 10), 'weekday 0', '+1 day') || 'T00:00:00.0000000Z',
                    max(last) || '0'
                ),
                coalesce(date(substr(:since, 1, 10), '+10 years') || 'T00:00:00.0000000Z', '~')
            )
        ) AS until
    FROM edges
),
-- UTC weeks, from Monday, cut by the period, unless the caller says where they begin.
steps (since, until) AS (
    SELECT since, coalesce(min(date(substr(since, 1, 10), 'weekday 0', '+1 day') || 'T00:00:00.0000000Z', until), until)
    FROM span
    WHERE :bounds IS NULL AND since < until
    UNION ALL
    SELECT steps.until, coalesce(min(date(substr(steps.until, 1, 10), 'weekday 0', '+1 day') || 'T00:00:00.0000000Z', span.until), span.until)
    FROM steps
        CROSS JOIN span
    WHERE steps.until < span.until
),
bounds (place, bound) AS MATERIALIZED (
    SELECT "key", value
    FROM json_each(:bounds)
),
buckets AS MATERIALIZED (
    SELECT since, until
    FROM steps
    UNION ALL
    SELECT bounds.bound, next.bound
    FROM bounds
        JOIN bounds AS next ON next.place = bounds.place + 1
),
-- Counting the runs of one outcome in a period is one range of the index runs_by_outcome.
counted AS MATERIALIZED (
    SELECT
        since,
        until,
        (
            SELECT count(*)
            FROM chosen CROSS JOIN runs
            WHERE runs.connection_key = chosen.connection_key AND outcome = 'succeeded'
                AND started_at >= buckets.since AND started_at < buckets.until
        ) AS succeeded,
        (
            SELECT count(*)
            FROM chosen CROSS JOIN runs
            WHERE runs.connection_key = chosen.connection_key AND outcome = 'partly succeeded'
                AND started_at >= buckets.since AND started_at < buckets.until
        ) AS partly_succeeded,
        (
            SELECT count(*)
            FROM chosen CROSS JOIN runs
            WHERE runs.connection_key = chosen.connection_key AND outcome = 'failed'
                AND started_at >= buckets.since AND started_at < buckets.until
        ) AS failed,
        (
            SELECT count(*)
            FROM chosen CROSS JOIN runs
            WHERE runs.connection_key = chosen.connection_key AND outcome = 'canceled'
                AND started_at >= buckets.since AND started_at < buckets.until
        ) AS canceled,
        (
            SELECT count(*)
            FROM chosen CROSS JOIN runs
            WHERE runs.connection_key = chosen.connection_key AND outcome = 'skipped'
                AND started_at >= buckets.since AND started_at < buckets.until
        ) AS skipped,
        (
            SELECT count(*)
            FROM chosen CROSS JOIN runs
            WHERE runs.connection_key = chosen.connection_key AND outcome = 'undetermined'
                AND started_at >= buckets.since AND started_at < buckets.until
        ) AS undetermined,
        (
            SELECT count(*)
            FROM chosen CROSS JOIN runs
            WHERE runs.connection_key = chosen.connection_key AND outcome = 'unfinished'
                AND started_at >= buckets.since AND started_at < buckets.until
        ) AS unfinished
    FROM buckets
)
SELECT
    since,
    until,
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
ORDER BY since;
