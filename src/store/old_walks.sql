-- Walks that ended before a time and that nothing stands on: not the newest of their connection, nor its newest
-- complete one, nor one that a later sync goes on with, nor one by which a gap was noticed.
SELECT walk_key, 0, coalesce(ended_at, started_at) AS last_at
FROM walks
WHERE last_at < ?1
    AND checkpoint IS NULL
    AND walk_key NOT IN (SELECT walk_key FROM gaps)
    AND walk_key IS NOT (
        SELECT max(walk_key) FROM walks AS newer WHERE newer.connection_key = walks.connection_key
    )
    AND walk_key IS NOT (
        SELECT max(walk_key) FROM walks AS newer
        WHERE newer.connection_key = walks.connection_key AND newer.complete = 1
    )
ORDER BY walk_key
