-- What a sync needs to know of one connection before it starts.
SELECT EXISTS (SELECT 1 FROM runs WHERE runs.connection_key = :connection_key) AS has_runs,
       EXISTS (SELECT 1 FROM pruned_runs WHERE pruned_runs.connection_key = :connection_key) AS has_pruned,
       (SELECT count(*) FROM runs
        WHERE runs.connection_key = :connection_key
          AND state IS NOT 'Completed' AND not_found_at IS NULL)                AS unfinished,
       coalesce((SELECT kind = 'incremental' AND NOT complete AND pages >= 8 FROM walks
                 WHERE walks.connection_key = :connection_key
                 ORDER BY walk_key DESC LIMIT 1), 0)                            AS was_cut_short,
       (SELECT name FROM connections WHERE connections.connection_key = :connection_key) AS name,
       listing_order, page_size, settled_run_key, watermark, full_walk_at, checkpoints.listed, listing_end, last_run_id,
       open_walk.walk_key   AS open_walk_key,
       open_walk.checkpoint AS open_walk_checkpoint
FROM checkpoints
-- The last full walk, if it was interrupted and says where to go on.
LEFT JOIN walks AS open_walk
       ON open_walk.walk_key = (SELECT max(walk_key) FROM walks
                                WHERE connection_key = :connection_key AND kind = 'full')
      AND NOT open_walk.complete
      AND open_walk.checkpoint IS NOT NULL
WHERE checkpoints.connection_key = :connection_key
