-- The tasks of some runs with their errors, in the order sent.
SELECT tasks.*,
       errors.task_index AS error_task_index,
       errors.extra      AS error_extra,
       error_code, message, details, bridge_exit_code, system, phase, category,
       description_key, description, kb_article_link, can_user_fix
FROM tasks
LEFT JOIN errors USING (run_key, job_index, task_index)
WHERE tasks.run_key BETWEEN ?1 AND ?2
ORDER BY tasks.run_key, tasks.job_index, tasks.task_index
