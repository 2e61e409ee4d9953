-- Failure rates by connection
--
-- How often runs failed: failed / (succeeded + partly succeeded + failed), of the terminal runs that
-- started in the period; by connection, or by the days or weeks of the period, or by both. Connections,
-- days and weeks without runs are listed too.
--
-- Parameters:
--   :since       start of the period, an instant; default: the first run; of days and weeks at most ten
--                  years before the last
--   :until       its end, not included; default: after the last run; of days and weeks the end of the
--                  last run's, at most ten years after :since
--   :connection  a connection's id, kind:id where two kinds share an id, or a JSON array of such; an id
--                  alone means the export where there is one; default: all
--   :by          connection (the default), day or week of all chosen connections together, or
--                  connection-day: the cells of a grid
--   :bounds      JSON array of the instants at which each day or week begins, and the last one ends;
--                  default: the days of UTC, or its weeks from Monday, from :since to :until
--
-- Columns:
--   connection        its name, or its id where it has none
--   connection_id     its id; NULL for all together
--   runs              runs that started in the period, or in this part of it
--   succeeded         of these, by how they came out
--   partly_succeeded  see `succeeded`
--   failed            result Error or TimedOut
--   canceled          shown, not rated
--   skipped           shown, not rated
--   undetermined      a result that says nothing; not rated
--   unfinished        not terminal; not rated
--   rated             succeeded + partly succeeded + failed
--   failure_rate      failed / rated, from 0 to 1; NULL where nothing was rated
--   kind              export, storage or manifest; NULL for all together
--   since             start of the day or week; NULL for the whole period
--   until             its end, not included; NULL for the whole period
--
-- Step: :by
WITH RECURSIVE asked (connection) AS (
    SELECT value
    FROM json_each(iif(:connection LIKE '[%', :connection, json_array('' || :connection)))
),
chosen AS (
    SELECT connection_key, kind, id AS connection_id, coalesce(name, display_name, id) AS connection
    FROM connections
    WHERE :connection IS NULL
        OR kind || ':' || id IN asked
        OR id IN asked
            AND (kind = 'export' OR id IN (SELECT id FROM connections GROUP BY id HAVING count(*) = 1))
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
-- What leads from any instant of a day or week to the day on which the next one begins.
strides (to_last_day) AS (
    VALUES (iif(:by = 'week', 'weekday 0', '+0 days'))
),
-- Ten years are enough where nobody says since when: a wrong clock may have dated a run anywhere.
span AS (
    SELECT
        coalesce(:since, max(min(first), strftime('%Y-%m-%dT00:00:00.0000000Z',
            substr(coalesce(:until, max(last)), 1, 10), '-10 years'))) AS since,
        -- The end of its day or week; the calendar has none for the last one of the year 9999.
        coalesce(
            :until,
            min(
                coalesce(
                    date(substr(max(last), 1, 10), to_last_day, '+1 day') || 'T00:00:00.0000000Z',
                    max(last) || '0'
                ),
                coalesce(date(substr(:since, 1, 10), '+10 years') || 'T00:00:00.0000000Z', '~')
            )
        ) AS until
    FROM edges
        CROSS JOIN strides
),
-- Days or weeks of UTC, cut by the period, unless the caller says where they begin.
steps (since, until) AS (
    SELECT NULL, since
    FROM span
    WHERE :by IN ('day', 'week', 'connection-day') AND :bounds IS NULL AND since < until
    UNION ALL
    SELECT
        steps.until,
        coalesce(
            min(date(substr(steps.until, 1, 10), to_last_day, '+1 day') || 'T00:00:00.0000000Z', span.until),
            span.until
        )
    FROM steps
        CROSS JOIN span
        CROSS JOIN strides
    WHERE steps.until < span.until
),
bounds (place, bound) AS MATERIALIZED (
    SELECT "key", value
    FROM json_each(:bounds)
    WHERE :by IN ('day', 'week', 'connection-day')
),
buckets AS MATERIALIZED (
    SELECT since, until
    FROM steps
    WHERE since IS NOT NULL
    UNION ALL
    SELECT bounds.bound, next.bound
    FROM bounds
        JOIN bounds AS next ON next.place = bounds.place + 1
),
parts (part, connection_key, kind, connection_id, connection, since, until, low, high) AS MATERIALIZED (
    SELECT row_number() OVER (), *, coalesce(since, :since, ''), coalesce(until, :until, '~')
    FROM (
        SELECT connection_key, kind, connection_id, connection, NULL AS since, NULL AS until
        FROM chosen
        WHERE coalesce(:by, 'connection') = 'connection'
        UNION ALL
        SELECT NULL, NULL, NULL, NULL, since, until
        FROM buckets
        WHERE :by IN ('day', 'week')
        UNION ALL
        SELECT connection_key, kind, connection_id, connection, since, until
        FROM chosen
            CROSS JOIN buckets
        WHERE :by = 'connection-day'
    )
),
-- Counting the runs of one outcome in a period is one range of the index runs_by_outcome.
counted AS MATERIALIZED (
    SELECT
        parts.*,
        (
            SELECT json_group_array(iif(
                parts.connection_key IS NULL,
                (
                    SELECT count(*)
                    FROM chosen
                        CROSS JOIN runs USING (connection_key)
                    WHERE runs.outcome = outcomes.outcome AND started_at >= low AND started_at < high
                ),
                (
                    SELECT count(*)
                    FROM runs
                    WHERE runs.connection_key = parts.connection_key AND runs.outcome = outcomes.outcome
                        AND started_at >= low AND started_at < high
                )
            ))
            FROM outcomes
        ) AS counts
    FROM parts
),
rates AS MATERIALIZED (
    SELECT
        counted.*,
        counts ->> 0 AS succeeded,
        counts ->> 1 AS partly_succeeded,
        counts ->> 2 AS failed,
        counts ->> 3 AS canceled,
        counts ->> 4 AS skipped,
        counts ->> 5 AS undetermined,
        counts ->> 6 AS unfinished
    FROM counted
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
    failed * 1.0 / nullif(succeeded + partly_succeeded + failed, 0) AS failure_rate,
    kind,
    since,
    until
FROM rates
-- The worst connection first; days and weeks one after the other.
ORDER BY iif(since IS NULL, failed, 0) DESC, connection, connection_id, kind, since;
