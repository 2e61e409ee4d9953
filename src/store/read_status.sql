-- Per connection: how much is archived, how fresh it is, and what stands in the way.
WITH counted AS (
    SELECT connection_key,
           count(*)                                           AS runs,
           count(*) FILTER (WHERE unlisted_at IS NOT NULL)    AS unlisted_runs,
           count(*) FILTER (WHERE state IS NOT 'Completed')   AS unfinished
    FROM runs
    GROUP BY connection_key
),
last_walk AS (
    SELECT connection_key,
           max(walk_key)                                      AS walk_key,
           max(started_at) FILTER (WHERE complete)            AS complete_as_of
    FROM walks
    GROUP BY connection_key
)
SELECT connections.id,
       display_name,
       coalesce(counted.runs, 0)                              AS runs,
       coalesce(counted.unlisted_runs, 0)                     AS unlisted_runs,
       coalesce(counted.unfinished, 0)                        AS unfinished,
       (SELECT count(*) FROM rejects WHERE rejects.connection_key = connections.connection_key) AS rejects,
       (SELECT count(*) FROM gaps    WHERE gaps.connection_key    = connections.connection_key) AS gaps,
       newest_started_at,
       last_walk.complete_as_of,
       walks.reason                                           AS last_problem,
       unlisted_at
FROM connections
LEFT JOIN checkpoints USING (connection_key)
LEFT JOIN counted     USING (connection_key)
LEFT JOIN last_walk   USING (connection_key)
LEFT JOIN walks       ON walks.walk_key = last_walk.walk_key AND NOT walks.complete
ORDER BY coalesce(display_name, connections.id), connections.id
