-- Durations of runs
--
-- How long runs, their jobs or tasks took, from start to end, or how long runs waited, from a run's start
-- to the start of its first job; of the runs that started in the period, where both ends are real and in
-- this order: percentiles by nearest rank. Connections and weeks without such values have no row.
--
-- Parameters:
--   :since       start of the period, an instant; default: the first run; of weeks at most ten years
--                  before the last
--   :until       its end, not included; default: after the last run; of weeks the end of the last
--                  run's, at most ten years after :since
--   :connection  a connection's id, kind:id where two kinds share an id, or a JSON array of such; an id
--                  alone means the export where there is one; default: all
--   :of          run (the default), job or task: how long it took; queue: how long runs waited
--   :by          connection (the default), all: one row for all of them together, or week: the same, week
--                  by week
--   :bounds      JSON array of the instants at which each week begins, and the last one ends; default: the
--                  weeks of UTC, from Monday, from :since to :until
--
-- Columns:
--   connection     its name, or its id where it has none; NULL for all together
--   connection_id  its id; NULL for all together
--   runs           runs with such a value; NULL where jobs or tasks are counted
--   p50_ms         median, in milliseconds: a value that occurred (nearest rank)
--   p50_low_ms     lower end of the median's 95 % interval, from order statistics; NULL of fewer
--                    than eight values
--   p50_high_ms    its upper end
--   p90_ms         90 % are not longer
--   p95_ms         95 % are not longer
--   p99_ms         99 % are not longer
--   max_ms         the longest
--   kind           export, storage or manifest; NULL for all together
--   count          values: as many as there are runs, jobs or tasks that have one
--   since          start of the week; NULL for the whole period
--   until          its end, not included; NULL for the whole period
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
-- Weeks of UTC, from Monday, cut by the period, unless the caller says where they begin.
steps (since, until) AS (
    SELECT NULL, since
    FROM span
    WHERE :by = 'week' AND :bounds IS NULL AND since < until
    UNION ALL
    SELECT
        steps.until,
        coalesce(
            min(date(substr(steps.until, 1, 10), 'weekday 0', '+1 day') || 'T00:00:00.0000000Z', span.until),
            span.until
        )
    FROM steps
        CROSS JOIN span
    WHERE steps.until < span.until
),
bounds (place, bound) AS MATERIALIZED (
    SELECT "key", value
    FROM json_each(:bounds)
    WHERE :by = 'week'
),
parts (connection_key, kind, connection_id, connection, since, until) AS MATERIALIZED (
    SELECT connection_key, kind, connection_id, connection, NULL, NULL
    FROM chosen
    WHERE coalesce(:by, 'connection') = 'connection'
    UNION ALL
    SELECT NULL, NULL, NULL, NULL, NULL, NULL
    WHERE :by = 'all'
    UNION ALL
    SELECT NULL, NULL, NULL, NULL, since, until
    FROM steps
    WHERE since IS NOT NULL
    UNION ALL
    SELECT NULL, NULL, NULL, NULL, bounds.bound, next.bound
    FROM bounds
        JOIN bounds AS next ON next.place = bounds.place + 1
),
-- All values of a part in order, as one array: half the time of numbering them by a window.
arrays AS MATERIALIZED (
    SELECT
        parts.*,
        CASE
            WHEN coalesce(:of, 'run') IN ('run', 'queue') THEN (
                SELECT json_group_array(value_ms)
                FROM (
                    SELECT iif(:of = 'queue', queue_ms, duration_ms) AS value_ms
                    FROM chosen
                        CROSS JOIN outcomes
                        CROSS JOIN runs USING (connection_key, outcome)
                    WHERE (parts.connection_key IS NULL OR chosen.connection_key = parts.connection_key)
                        AND started_at >= coalesce(parts.since, :since, '')
                        AND started_at < coalesce(parts.until, :until, '~')
                        AND value_ms IS NOT NULL
                    ORDER BY value_ms
                )
            )
            WHEN :of = 'job' THEN (
                SELECT json_group_array(value_ms)
                FROM (
                    SELECT jobs.duration_ms AS value_ms
                    FROM chosen
                        CROSS JOIN outcomes
                        CROSS JOIN runs USING (connection_key, outcome)
                        CROSS JOIN jobs USING (run_key)
                    WHERE (parts.connection_key IS NULL OR chosen.connection_key = parts.connection_key)
                        AND runs.started_at >= coalesce(parts.since, :since, '')
                        AND runs.started_at < coalesce(parts.until, :until, '~')
                        AND value_ms IS NOT NULL
                    ORDER BY value_ms
                )
            )
            WHEN :of = 'task' THEN (
                SELECT json_group_array(value_ms)
                FROM (
                    SELECT tasks.duration_ms AS value_ms
                    FROM chosen
                        CROSS JOIN outcomes
                        CROSS JOIN runs USING (connection_key, outcome)
                        CROSS JOIN tasks USING (run_key)
                    WHERE (parts.connection_key IS NULL OR chosen.connection_key = parts.connection_key)
                        AND runs.started_at >= coalesce(parts.since, :since, '')
                        AND runs.started_at < coalesce(parts.until, :until, '~')
                        AND value_ms IS NOT NULL
                    ORDER BY value_ms
                )
            )
        END AS sorted
    FROM parts
),
sized AS MATERIALIZED (
    SELECT *, json_array_length(sorted) AS size
    FROM arrays
),
-- Square roots by Newton's method: SQLite need not have any.
roots (size, root, step) AS (
    SELECT DISTINCT size, size / 2.0 + 1, 0
    FROM sized
    WHERE size > 0
    UNION ALL
    SELECT size, (root + size / root) / 2, step + 1
    FROM roots
    WHERE step < 40
),
-- Nearest rank: the percentile p of n values is the one at place ceil(n * p / 100), from 1. The median's
-- interval ends as many places from either end of the order as the normal approximation of the
-- binomial distribution says; of fewer than eight values there is none ('$[#]' lies beyond all).
picked AS MATERIALIZED (
    SELECT
        sized.*,
        json_extract(
            sorted,
            '$[' || ((size * 50 + 99) / 100 - 1) || ']',
            '$[' || ((size * 90 + 99) / 100 - 1) || ']',
            '$[' || ((size * 95 + 99) / 100 - 1) || ']',
            '$[' || ((size * 99 + 99) / 100 - 1) || ']',
            '$[' || (size - 1) || ']',
            iif(ends >= 1, '$[' || (ends - 1) || ']', '$[#]'),
            iif(ends >= 1, '$[' || (size - ends) || ']', '$[#]')
        ) AS ranked
    FROM sized
        JOIN (
            SELECT size, CAST(size / 2.0 - 0.98 * root AS INTEGER) AS ends
            FROM roots
            WHERE step = 40
        ) USING (size)
)
SELECT
    connection,
    connection_id,
    iif(coalesce(:of, 'run') IN ('run', 'queue'), size, NULL) AS runs,
    json_extract(ranked, '$[0]') AS p50_ms,
    json_extract(ranked, '$[5]') AS p50_low_ms,
    json_extract(ranked, '$[6]') AS p50_high_ms,
    json_extract(ranked, '$[1]') AS p90_ms,
    json_extract(ranked, '$[2]') AS p95_ms,
    json_extract(ranked, '$[3]') AS p99_ms,
    json_extract(ranked, '$[4]') AS max_ms,
    kind,
    size AS count,
    since,
    until
FROM picked
ORDER BY connection, connection_id, kind, since;
