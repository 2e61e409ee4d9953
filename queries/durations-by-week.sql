-- Durations of runs by week
--
-- How long runs took, week by week, of all chosen connections together: percentiles by nearest rank. A
-- week without a run that has a duration has no row.
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
--   since        start of the week
--   until        its end, not included
--   runs         runs that started in it and have a duration
--   p50_ms       median, in milliseconds: a value that occurred (nearest rank)
--   p50_low_ms   lower end of the median's 95 % interval, from order statistics; NULL of fewer than
--                  eight values
--   p50_high_ms  its upper end
--   p90_ms       90 % are not longer
--   p95_ms       95 % are not longer
--   p99_ms       99 % are not longer
--   max_ms       the longest
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
-- All values of a week in order, as one array: half the time of numbering them by a window.
arrays AS MATERIALIZED (
    SELECT
        since,
        until,
        (
            SELECT json_group_array(duration_ms)
            FROM (
                SELECT duration_ms
                FROM chosen
                    CROSS JOIN outcomes
                    CROSS JOIN runs USING (connection_key, outcome)
                WHERE started_at >= buckets.since AND started_at < buckets.until
                    AND duration_ms IS NOT NULL
                ORDER BY duration_ms
            )
        ) AS sorted
    FROM buckets
),
sized AS MATERIALIZED (
    SELECT since, until, sorted, json_array_length(sorted) AS size
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
        since,
        until,
        size,
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
    since,
    until,
    size AS runs,
    json_extract(ranked, '$[0]') AS p50_ms,
    json_extract(ranked, '$[5]') AS p50_low_ms,
    json_extract(ranked, '$[6]') AS p50_high_ms,
    json_extract(ranked, '$[1]') AS p90_ms,
    json_extract(ranked, '$[2]') AS p95_ms,
    json_extract(ranked, '$[3]') AS p99_ms,
    json_extract(ranked, '$[4]') AS max_ms
FROM picked
ORDER BY since;
