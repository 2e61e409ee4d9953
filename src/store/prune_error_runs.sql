-- Takes out what `error_runs` says of one run, found by the errors that the run has.
DELETE FROM error_runs
WHERE run_key = ?1
    AND connection_key = (SELECT connection_key FROM runs WHERE run_key = ?1)
    AND started_at = (SELECT started_at FROM runs WHERE run_key = ?1)
    AND error_kind_key IN (
        SELECT error_kind_key
        FROM errors
            JOIN error_kinds ON error_kinds.error_code IS errors.error_code
                AND error_kinds.description_key IS errors.description_key
                AND error_kinds.can_user_fix IS errors.can_user_fix
        WHERE errors.run_key = ?1
    )
