-- Masked failures
--
-- Runs that say Success although a job or task in them failed or carries an error, the newest first.
-- The export may be incomplete and nothing says so.
--
-- Parameters:
--   :since       start of the period, an instant; default: the first run
--   :until       its end, not included; default: after the last run
--   :connection  a connection's id, kind:id where two kinds share an id, or a JSON array of
--                  such; an id alone means the export where there is one; default: all
--   :limit       how many rows at most; default: all
--
-- Columns:
--   connection     its name, or its id where it has none
--   connection_id  its id
--   run_id         the run's id
--   started_at     its start
--   failed_jobs    its jobs with result Error or TimedOut
--   failed_tasks   its tasks with such a result
--   errors         its tasks that carry an error
--   error_keys     the keys of these errors, or their codes, comma-separated
--   masked_in_all  how many runs there are, whatever the limit
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
masked AS (
    SELECT kind, connection, connection_id, run_key, started_at, count(*) OVER () AS masked_in_all
    FROM chosen
        CROSS JOIN runs USING (connection_key)
    WHERE outcome = 'succeeded'
        AND started_at >= coalesce(:since, '') AND started_at < coalesce(:until, '~')
        AND has_failure
    ORDER BY started_at DESC, connection, run_key
    LIMIT coalesce(:limit, -1)
)
SELECT
    connection,
    connection_id,
    runs.id AS run_id,
    masked.started_at,
    (
        SELECT count(*) FROM jobs
        WHERE jobs.run_key = runs.run_key AND jobs.result IN ('Error', 'TimedOut')
    ) AS failed_jobs,
    (
        SELECT count(*) FROM tasks
        WHERE tasks.run_key = runs.run_key AND tasks.result IN ('Error', 'TimedOut')
    ) AS failed_tasks,
    (SELECT count(*) FROM errors WHERE errors.run_key = runs.run_key) AS errors,
    (
        SELECT group_concat(name, ', ')
        FROM (
            SELECT DISTINCT coalesce(description_key, error_code) AS name
            FROM errors
            WHERE errors.run_key = runs.run_key
            ORDER BY name
        )
    ) AS error_keys,
    masked_in_all,
    kind
FROM masked
    JOIN runs USING (run_key)
ORDER BY masked.started_at DESC, connection, masked.run_key;
