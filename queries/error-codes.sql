-- Error codes
--
-- Which errors the tasks of the period's runs carried, the ones that hit the most runs first. An error
-- is told apart by its code, its key and whether users can fix it; the rest is that of its newest
-- occurrence.
--
-- Parameters:
--   :since       start of the period, an instant; default: the first run
--   :until       its end, not included; default: after the last run
--   :connection  a connection's id, kind:id where two kinds share an id, or a JSON array of
--                  such; an id alone means the export where there is one; default: all
--
-- Columns:
--   error_code       such as TAE_BRW_1000
--   description_key  the stable key, such as FailedToExport
--   can_user_fix     1: the team can act; 0: the platform has to; NULL: not said
--   system           in lower case, such as exporter
--   phase            such as export_file
--   category         such as other
--   description      as the newest occurrence tells it
--   kb_article_link  the help article; NULL where there is none
--   tasks            tasks that carried it
--   runs             runs that had it
--   connections      connections that had it
--   first_seen       start of the first run of the period that had it
--   last_seen        start of the last one
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
by_connection AS (
    SELECT
        error_kind_key,
        sum(tasks) AS tasks,
        count(*) AS runs,
        min(started_at) AS first_seen,
        max(started_at) AS last_seen
    FROM error_kinds
        CROSS JOIN chosen
        CROSS JOIN error_runs USING (error_kind_key, connection_key)
    WHERE started_at >= coalesce(:since, '') AND started_at < coalesce(:until, '~')
    GROUP BY error_kind_key, connection_key
),
seen AS (
    SELECT
        error_kind_key,
        sum(tasks) AS tasks,
        sum(runs) AS runs,
        count(*) AS connections,
        min(first_seen) AS first_seen,
        max(last_seen) AS last_seen
    FROM by_connection
    GROUP BY error_kind_key
),
newest AS (
    SELECT
        seen.*,
        error_code,
        description_key,
        can_user_fix,
        (
            SELECT max(run_key)
            FROM chosen
                CROSS JOIN error_runs USING (connection_key)
            WHERE error_runs.error_kind_key = seen.error_kind_key
                AND error_runs.started_at = seen.last_seen
        ) AS run_key
    FROM seen
        JOIN error_kinds USING (error_kind_key)
)
SELECT
    newest.error_code,
    newest.description_key,
    newest.can_user_fix,
    lower(errors.system) AS system,
    errors.phase,
    errors.category,
    errors.description,
    nullif(errors.kb_article_link, '') AS kb_article_link,
    newest.tasks,
    newest.runs,
    newest.connections,
    newest.first_seen,
    newest.last_seen
FROM newest
    -- The first task of the newest run that carries it.
    LEFT JOIN errors ON errors.run_key = newest.run_key
        AND (errors.job_index, errors.task_index) = (
            SELECT other.job_index, other.task_index
            FROM errors AS other
            WHERE other.run_key = newest.run_key
                AND other.error_code IS newest.error_code
                AND other.description_key IS newest.description_key
                AND other.can_user_fix IS newest.can_user_fix
            ORDER BY other.job_index, other.task_index
            LIMIT 1
        )
ORDER BY newest.runs DESC, newest.tasks DESC, newest.error_code, newest.description_key,
    newest.can_user_fix;
