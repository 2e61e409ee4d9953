-- Errors of runs
--
-- Which errors each of these runs carries, and on how many of its tasks. A run without an error on a task
-- is told by its own error, where it has one; a run without any has a row that names none.
--
-- Parameters:
--   :runs  JSON array of keys of runs in this file; default: none
--
-- Columns:
--   run_key          the run's key in this file
--   run_id           its id
--   started_at       its start
--   error_kind_key   the error's key in this file; NULL for a run's own error
--   error_code       such as TAE_BRW_1000
--   description_key  the stable key, such as FailedToExport
--   can_user_fix     1: the team can act; 0: the platform has to; NULL: not said
--   phase            such as export_file
--   category         such as other
--   description      as the first of these tasks tells it
--   kb_article_link  the help article; NULL where there is none
--   tasks            tasks of the run that carry it; 0 for a run's own error, or none
WITH asked AS MATERIALIZED (
    SELECT DISTINCT value AS run_key
    FROM json_each(coalesce(:runs, '[]'))
),
carried AS (
    SELECT
        errors.*,
        count(*) OVER same AS tasks,
        row_number() OVER (same ORDER BY job_index, task_index) AS place
    FROM asked
        CROSS JOIN errors USING (run_key)
    WINDOW same AS (PARTITION BY errors.run_key, error_code, description_key, can_user_fix)
)
SELECT
    carried.run_key AS run_key,
    runs.id AS run_id,
    runs.started_at,
    error_kinds.error_kind_key,
    carried.error_code AS error_code,
    carried.description_key AS description_key,
    carried.can_user_fix,
    carried.phase,
    carried.category,
    carried.description,
    nullif(carried.kb_article_link, '') AS kb_article_link,
    carried.tasks AS tasks
FROM carried
    JOIN runs USING (run_key)
    LEFT JOIN error_kinds ON error_kinds.error_code IS carried.error_code
        AND error_kinds.description_key IS carried.description_key
        AND error_kinds.can_user_fix IS carried.can_user_fix
WHERE place = 1
UNION ALL
SELECT
    run_key, runs.id, runs.started_at, NULL, NULL, error_key, NULL, runs.phase, NULL, error_description, NULL, 0
FROM asked
    CROSS JOIN runs USING (run_key)
WHERE NOT EXISTS (SELECT 1 FROM errors WHERE errors.run_key = runs.run_key)
ORDER BY run_key, tasks DESC, description_key, error_code;
