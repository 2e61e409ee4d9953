-- Retries
--
-- How often tasks of the period's runs were tried again, the connections with the most attempts first.
--
-- Parameters:
--   :since       start of the period, an instant; default: the first run
--   :until       its end, not included; default: after the last run
--   :connection  a connection's id, kind:id where two kinds share an id, or a JSON array of
--                  such; an id alone means the export where there is one; default: all
--
-- Columns:
--   connection     its name, or its id where it has none
--   connection_id  its id
--   tasks          tasks of the runs that started in the period
--   retried_runs   runs with a task that was tried again
--   retried_tasks  tasks that were tried again
--   attempts       attempts beyond the first
--   most_attempts  the most of one task
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
counted AS (
    SELECT connection_key, count(*) AS tasks
    FROM chosen
        CROSS JOIN outcomes
        CROSS JOIN runs USING (connection_key, outcome)
        CROSS JOIN tasks USING (run_key)
    WHERE runs.started_at >= coalesce(:since, '') AND runs.started_at < coalesce(:until, '~')
    GROUP BY connection_key
),
-- Answered by the index tasks_retried, which holds the exceptions only.
tried AS (
    SELECT
        connection_key,
        count(DISTINCT run_key) AS retried_runs,
        count(*) AS retried_tasks,
        sum(retry_attempts) AS attempts,
        max(retry_attempts) AS most_attempts
    FROM chosen
        CROSS JOIN outcomes
        CROSS JOIN runs USING (connection_key, outcome)
        CROSS JOIN tasks USING (run_key)
    WHERE runs.started_at >= coalesce(:since, '') AND runs.started_at < coalesce(:until, '~')
        AND retry_attempts > 0
    GROUP BY connection_key
)
SELECT
    connection,
    connection_id,
    coalesce(tasks, 0) AS tasks,
    coalesce(retried_runs, 0) AS retried_runs,
    coalesce(retried_tasks, 0) AS retried_tasks,
    coalesce(attempts, 0) AS attempts,
    coalesce(most_attempts, 0) AS most_attempts,
    kind
FROM chosen
    LEFT JOIN counted USING (connection_key)
    LEFT JOIN tried USING (connection_key)
ORDER BY attempts DESC, connection, connection_id, kind;
