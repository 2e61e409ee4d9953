-- Per connection: how much is archived, how fresh it is, and what stands in the way.
-- Each count is answered by an index alone: a status must not read a million runs.
WITH counted AS (
    SELECT connection_key, count(*) AS runs
    FROM runs
    GROUP BY connection_key
),
unfinished AS (
    SELECT connection_key, count(*) AS runs, min(answered_at) AS oldest_answer_at
    FROM runs
    LEFT JOIN unfinished_runs ON unfinished_runs.run_key = runs.run_key
    WHERE state IS NOT 'Completed'
    GROUP BY connection_key
),
last_walk AS (
    SELECT connection_key,
           max(walk_key)                                      AS walk_key,
           max(started_at) FILTER (WHERE complete)            AS complete_as_of
    FROM walks
    GROUP BY connection_key
)
SELECT connections.kind,
       connections.id,
       coalesce(connections.name, connections.display_name, connections.id) AS name,
       connections.display_name,
       connections.imodel_id,
       imodels.display_name                                   AS imodel,
       coalesce(connections.itwin_id, imodels.itwin_id)       AS itwin_id,
       itwins.display_name                                    AS itwin,
       coalesce(counted.runs, 0)                              AS runs,
       coalesce(counted.runs - checkpoints.listed, 0)         AS unlisted_runs,
       coalesce(unfinished.runs, 0)                           AS unfinished,
       oldest_answer_at,
       (SELECT count(*) FROM rejects WHERE rejects.connection_key = connections.connection_key) AS rejects,
       (SELECT count(*) FROM gaps    WHERE gaps.connection_key    = connections.connection_key) AS gaps,
       newest_started_at,
       iif(quiet_at > last_walk.complete_as_of, quiet_at, last_walk.complete_as_of) AS complete_as_of,
       walks.reason                                           AS last_problem,
       connections.unlisted_at
FROM connections
LEFT JOIN imodels     ON imodels.id = connections.imodel_id
LEFT JOIN itwins      ON itwins.id = coalesce(connections.itwin_id, imodels.itwin_id)
LEFT JOIN checkpoints USING (connection_key)
LEFT JOIN counted     USING (connection_key)
LEFT JOIN unfinished  USING (connection_key)
LEFT JOIN last_walk   USING (connection_key)
LEFT JOIN walks       ON walks.walk_key = last_walk.walk_key AND NOT walks.complete
ORDER BY name, connections.kind, connections.id
