-- Keys of runs that are not there, of which something else is.
SELECT run_key FROM jobs WHERE run_key > ?1
UNION
SELECT run_key FROM tasks WHERE run_key > ?1
UNION
SELECT run_key FROM errors WHERE run_key > ?1
UNION
SELECT run_key FROM revisions WHERE run_key > ?1
UNION
SELECT run_key FROM error_runs WHERE run_key > ?1
EXCEPT
SELECT run_key FROM runs WHERE run_key > ?1;
