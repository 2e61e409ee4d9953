-- One run as JSON objects in the platform's own names, one row for each object: the run, its jobs, their
-- tasks and their errors, parents first.
SELECT 'run' AS level, 0 AS job_index, 0 AS task_index,
       json_object('id', id, 'state', state, 'result', result,
                   'startDateTime', started_at, 'endDateTime', ended_at, 'phase', phase,
                   'error', json_object('errorKey', error_key, 'description', error_description)) AS columns,
       extra, 1 AS place
FROM runs
WHERE run_key = ?1
UNION ALL
SELECT 'job', job_index, 0,
       json_object('id', id, 'state', state, 'result', result,
                   'startDateTime', started_at, 'endDateTime', ended_at, 'connectorType', connector_type),
       extra, 2
FROM jobs
WHERE run_key = ?1
UNION ALL
SELECT 'task', job_index, task_index,
       json_object('id', id, 'state', state, 'result', result,
                   'startDateTime', started_at, 'endDateTime', ended_at,
                   'retryAttempts', retry_attempts, 'exportOutputFileId', export_output_file_id,
                   'storageFileId', storage_file_id, 'sourceFileId', source_file_id),
       extra, 3
FROM tasks
WHERE run_key = ?1
UNION ALL
SELECT 'error', job_index, task_index,
       json_object('errorCode', error_code, 'message', message, 'details', details,
                   'bridgeExitCode', bridge_exit_code, 'system', system, 'phase', phase,
                   'category', category, 'descriptionKey', description_key, 'description', description,
                   'kbArticleLink', kb_article_link,
                   'canUserFix', CASE can_user_fix WHEN 1 THEN json('true') WHEN 0 THEN json('false') END),
       extra, 4
FROM errors
WHERE run_key = ?1
ORDER BY place, job_index, task_index
