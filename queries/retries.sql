-- Retries
--
-- How often tasks of the period's runs were tried again, the connections with the most attempts first.
--
-- Parameters:
--   :since       start of the period, an instant; default: the first run
--   :until       its end, not included; default: after the last run
--   :connection  a connection's id, or a JSON array of ids; default: all
--
-- Columns:
--   connection     its name, or its id where it has none
--   connection_id  its id
--   runs           runs that started in the period
--   tasks          their tasks
--   retried_runs   runs with a task that was tried again
--   retried_tasks  tasks that were tried again
--   attempts       attempts beyond the first
--   most_attempts  the most of one task
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
counted AS (
    SELECT
        connection_key,
        (SELECT count(*) FROM tasks WHERE tasks.run_key = runs.run_key) AS tasks,
        -- Answered by the index tasks_retried, which holds the exceptions only.
        (
            SELECT count(*) FROM tasks
            WHERE tasks.run_key = runs.run_key AND retry_attempts > 0
        ) AS retried_tasks,
        (
            SELECT coalesce(sum(retry_attempts), 0) FROM tasks
            WHERE tasks.run_key = runs.run_key AND retry_attempts > 0
        ) AS attempts,
        (
            SELECT coalesce(max(retry_attempts), 0) FROM tasks
            WHERE tasks.run_key = runs.run_key AND retry_attempts > 0
        ) AS most_attempts
    FROM chosen
        CROSS JOIN outcomes
        CROSS JOIN runs USING (connection_key, outcome)
    WHERE started_at >= coalesce(:since, '') AND started_at < coalesce(:until, '~')
)
SELECT
    connection,
    connection_id,
    count(counted.connection_key) AS runs,
    coalesce(sum(tasks), 0) AS tasks,
    count(*) FILTER (WHERE retried_tasks > 0) AS retried_runs,
    coalesce(sum(retried_tasks), 0) AS retried_tasks,
    coalesce(sum(attempts), 0) AS attempts,
    coalesce(max(most_attempts), 0) AS most_attempts
FROM chosen
    LEFT JOIN counted USING (connection_key)
GROUP BY connection_key
ORDER BY attempts DESC, connection, connection_id;
