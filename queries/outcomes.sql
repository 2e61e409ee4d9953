-- Outcomes of runs
--
-- How each run came out, connection by connection, and no more of it: what incidents are told from. Runs
-- without a start are in no period.
--
-- Parameters:
--   :since       start of the period, an instant; default: the first run
--   :until       its end, not included; default: after the last run
--   :connection  a connection's id, kind:id where two kinds share an id, or a JSON array of
--                  such; an id alone means the export where there is one; default: all
--
-- Columns:
--   connection_key  the connection's key in this file
--   run_key         the run's key in this file
--   outcome         succeeded, partly succeeded, failed, canceled, skipped, undetermined or unfinished
--   started_at      its start
--   duration_ms     from its start to its end; NULL where that is not known
--   has_failure     1: a job or task in it failed or carries an error
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
)
-- A range of the index runs_by_outcome for each connection and outcome: no row of the table is read, and
-- none is sorted.
SELECT runs.connection_key, run_key, runs.outcome, started_at, duration_ms, has_failure
FROM chosen
    CROSS JOIN outcomes
    CROSS JOIN runs ON runs.connection_key = chosen.connection_key AND runs.outcome = outcomes.outcome
WHERE started_at >= coalesce(:since, '') AND started_at < coalesce(:until, '~');
