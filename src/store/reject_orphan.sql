-- Whose it was is known by its errors, else guessed by the run stored before it.
INSERT INTO rejects (connection_key, rejected_at, version, reason, raw, fingerprint)
SELECT
    coalesce(
        (SELECT min(connection_key) FROM error_runs WHERE run_key = ?1),
        (SELECT connection_key FROM runs WHERE run_key < ?1 ORDER BY run_key DESC LIMIT 1),
        (SELECT min(connection_key) FROM connections)
    ),
    ?2, ?3, ?4, ?5, randomblob(16);
