-- What a sync needs to know of one connection before it starts.
SELECT EXISTS (SELECT 1 FROM runs WHERE runs.connection_key = :connection_key)
           OR pruned > 0                                                        AS has_runs,
       (SELECT count(*) FROM runs
        WHERE runs.connection_key = :connection_key
          AND state IS NOT 'Completed' AND not_found_at IS NULL)                AS unfinished,
       -- Not where a complete walk that brought nothing, and so left no row, came after it.
       coalesce((SELECT kind = 'incremental' AND NOT complete AND pages >= 8
                        AND walk_key > coalesce(proved_walk_key, 0)
                 FROM walks
                 WHERE walks.connection_key = :connection_key
                 ORDER BY walk_key DESC LIMIT 1), 0)                            AS was_cut_short,
       (SELECT name FROM connections WHERE connections.connection_key = :connection_key) AS name,
       listing_order, page_size, settled_run_key, watermark, full_walk_at, checkpoints.listed, pruned, listing_end, last_run_id,
       open_walk.walk_key   AS open_walk_key,
       open_walk.started_at AS open_walk_started_at,
       open_walk.checkpoint AS open_walk_checkpoint
FROM checkpoints
-- The last full walk, if it was interrupted and says where to go on: one that a later full walk has passed
-- has no checkpoint any more.
LEFT JOIN walks AS open_walk
       ON open_walk.walk_key = (SELECT max(walk_key) FROM walks
                                WHERE connection_key = :connection_key AND checkpoint IS NOT NULL)
      AND NOT open_walk.complete
WHERE checkpoints.connection_key = :connection_key
