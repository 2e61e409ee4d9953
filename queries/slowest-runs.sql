-- Slowest runs
--
-- The runs of the period that took longest.
--
-- Parameters:
--   :since       start of the period, an instant; default: the first run
--   :until       its end, not included; default: after the last run
--   :connection  a connection's id, or a JSON array of ids; default: all
--   :limit       how many rows at most; default: 20
--
-- Columns:
--   connection     its name, or its id where it has none
--   connection_id  its id
--   run_id         the run's id
--   started_at     its start
--   duration_ms    from start to end, in milliseconds
--   outcome        how it came out
WITH chosen AS (
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
slowest AS (
    SELECT connection, connection_id, run_key, started_at, duration_ms, outcome
    FROM chosen
        CROSS JOIN outcomes
        CROSS JOIN runs USING (connection_key, outcome)
    WHERE started_at >= coalesce(:since, '') AND started_at < coalesce(:until, '~')
        AND duration_ms IS NOT NULL
    ORDER BY duration_ms DESC, started_at, run_key
    LIMIT coalesce(:limit, 20)
)
SELECT
    connection,
    connection_id,
    runs.id AS run_id,
    slowest.started_at,
    slowest.duration_ms,
    slowest.outcome
FROM slowest
    JOIN runs USING (run_key)
ORDER BY slowest.duration_ms DESC, slowest.started_at, run_key;
