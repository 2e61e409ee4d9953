-- Slowest runs
--
-- The runs of the period that took longest.
--
-- Parameters:
--   :since       start of the period, an instant; default: the first run
--   :until       its end, not included; default: after the last run
--   :connection  a connection's id, kind:id where two kinds share an id, or a JSON array of
--                  such; an id alone means the export where there is one; default: all
--   :limit       how many rows at most; default: 20
--
-- Columns:
--   connection     its name, or its id where it has none
--   connection_id  its id
--   run_id         the run's id
--   started_at     its start
--   duration_ms    from start to end, in milliseconds
--   outcome        how it came out
--   kind           export, storage or manifest
WITH asked (connection) AS (
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
slowest AS (
    SELECT kind, connection, connection_id, run_key, started_at, duration_ms, outcome
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
    slowest.outcome,
    kind
FROM slowest
    JOIN runs USING (run_key)
ORDER BY slowest.duration_ms DESC, slowest.started_at, run_key;
