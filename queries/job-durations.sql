-- Durations of jobs
--
-- How long the jobs of the runs that started in the period took, from start to end, where both are
-- real and in this order: percentiles by nearest rank. Connections without such jobs have no row.
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
--   jobs           jobs with a duration
--   p50_ms         median, in milliseconds: a value that occurred (nearest rank)
--   p90_ms         90 % are not longer
--   p95_ms         95 % are not longer
--   p99_ms         99 % are not longer
--   max_ms         the longest
WITH chosen AS (
    SELECT connection_key, id AS connection_id, coalesce(display_name, id) AS connection
    FROM connections
    WHERE :connection IS NULL
        OR id IN (
            SELECT value
            FROM json_each(iif(:connection LIKE '[%', :connection, json_array(:connection)))
        )
),
outcomes (outcome) AS (
    VALUES ('succeeded'), ('partly succeeded'), ('failed'), ('canceled'), ('skipped'),
        ('undetermined'), ('unfinished')
),
timed AS MATERIALIZED (
    SELECT iif(:by = 'all', 0, connection_key) AS part, jobs.duration_ms AS value_ms
    FROM chosen
        CROSS JOIN outcomes
        CROSS JOIN runs USING (connection_key, outcome)
        CROSS JOIN jobs USING (run_key)
    WHERE runs.started_at >= coalesce(:since, '') AND runs.started_at < coalesce(:until, '~')
        AND jobs.duration_ms IS NOT NULL
),
counted AS (
    SELECT part, count(*) AS size
    FROM timed
    GROUP BY part
),
placed AS (
    SELECT part, size, sum(size) OVER (ORDER BY part) - size AS before
    FROM counted
),
-- Nearest rank: the percentile's place is ceil(size * p / 100) among the values of its part.
ranks AS MATERIALIZED (
    SELECT part, size, p, before + (size * p + 99) / 100 AS place
    FROM placed
        CROSS JOIN (
            SELECT 50 AS p UNION ALL SELECT 90 UNION ALL SELECT 95 UNION ALL SELECT 99
            UNION ALL SELECT 100
        )
),
numbered AS (
    SELECT value_ms, row_number() OVER (ORDER BY part, value_ms) AS place
    FROM timed
),
picked AS MATERIALIZED (
    SELECT place, value_ms
    FROM numbered
    WHERE place IN (SELECT place FROM ranks)
)
SELECT
    connection,
    connection_id,
    size AS jobs,
    max(value_ms) FILTER (WHERE p = 50) AS p50_ms,
    max(value_ms) FILTER (WHERE p = 90) AS p90_ms,
    max(value_ms) FILTER (WHERE p = 95) AS p95_ms,
    max(value_ms) FILTER (WHERE p = 99) AS p99_ms,
    max(value_ms) FILTER (WHERE p = 100) AS max_ms
FROM ranks
    JOIN picked USING (place)
    LEFT JOIN chosen ON chosen.connection_key = part
GROUP BY part
ORDER BY connection, connection_id;
