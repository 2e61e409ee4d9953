-- Durations of runs
--
-- How long the runs that started in the period took, from start to end, where both are real and in
-- this order: percentiles by nearest rank. Connections without such runs have no row.
--
-- Parameters:
--   :since       start of the period, an instant; default: the first run
--   :until       its end, not included; default: after the last run
--   :connection  a connection's id, or a JSON array of ids; default: all
--   :by          connection (the default), or all: one row for all of them together
--
-- Columns:
--   connection     its name, or its id where it has none; NULL for all together
--   connection_id  its id; NULL for all together
--   runs           runs with a duration
--   p50_ms         median, in milliseconds: a value that occurred (nearest rank)
--   p50_low_ms     lower end of the median's 95 % interval, from order statistics; NULL of fewer
--                    than eight values
--   p50_high_ms    its upper end
--   p90_ms         90 % are not longer
--   p95_ms         95 % are not longer
--   p99_ms         99 % are not longer
--   max_ms         the longest
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
parts (part, connection, connection_id) AS (
    SELECT connection_key, connection, connection_id
    FROM chosen
    WHERE :by IS NOT 'all'
    UNION ALL
    SELECT NULL, NULL, NULL
    WHERE :by = 'all'
),
-- All values of a part in order, as one array: half the time of numbering them by a window.
arrays AS MATERIALIZED (
    SELECT
        connection,
        connection_id,
        (
            SELECT json_group_array(value_ms)
            FROM (
                SELECT duration_ms AS value_ms
                FROM chosen
                    CROSS JOIN outcomes
                    CROSS JOIN runs USING (connection_key, outcome)
                WHERE (parts.part IS NULL OR chosen.connection_key = parts.part)
                    AND started_at >= coalesce(:since, '') AND started_at < coalesce(:until, '~')
                    AND duration_ms IS NOT NULL
                ORDER BY value_ms
            )
        ) AS sorted
    FROM parts
),
sized AS MATERIALIZED (
    SELECT connection, connection_id, sorted, json_array_length(sorted) AS size
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
        connection,
        connection_id,
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
    connection,
    connection_id,
    size AS runs,
    json_extract(ranked, '$[0]') AS p50_ms,
    json_extract(ranked, '$[5]') AS p50_low_ms,
    json_extract(ranked, '$[6]') AS p50_high_ms,
    json_extract(ranked, '$[1]') AS p90_ms,
    json_extract(ranked, '$[2]') AS p95_ms,
    json_extract(ranked, '$[3]') AS p99_ms,
    json_extract(ranked, '$[4]') AS max_ms
FROM picked
ORDER BY connection, connection_id;
