-- Per connection: how much is archived, how fresh it is, and what stands in the way.
-- Each count is answered by an index alone: a status must not read a million runs.
WITH unlisted AS (
    SELECT connection_key, count(*) AS runs
    FROM runs
    WHERE unlisted_at IS NOT NULL
    GROUP BY connection_key
),
unfinished AS (
    SELECT connection_key, count(*) AS runs
    FROM runs
    WHERE state IS NOT 'Completed'
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
       -- Counted as they are stored, so that nobody has to count a million runs.
       coalesce(checkpoints.listed, 0) + coalesce(unlisted.runs, 0) AS runs,
       coalesce(unlisted.runs, 0)                             AS unlisted_runs,
       coalesce(unfinished.runs, 0)                           AS unfinished,
       (SELECT count(*) FROM rejects WHERE rejects.connection_key = connections.connection_key) AS rejects,
       (SELECT count(*) FROM gaps    WHERE gaps.connection_key    = connections.connection_key) AS gaps,
       newest_started_at,
       connection_coverage.complete_as_of,
       connection_coverage.last_problem,
       connections.unlisted_at,
       coalesce(checkpoints.pruned, 0)                        AS pruned_runs,
       prunes.before                                          AS pruned_before,
       prunes.pruned_at
FROM connections
LEFT JOIN imodels     ON imodels.id = connections.imodel_id
LEFT JOIN itwins      ON itwins.id = coalesce(connections.itwin_id, imodels.itwin_id)
LEFT JOIN checkpoints USING (connection_key)
LEFT JOIN unlisted    USING (connection_key)
LEFT JOIN unfinished  USING (connection_key)
LEFT JOIN connection_coverage USING (connection_key)
LEFT JOIN prunes      ON prunes.prune_key = checkpoints.prune_key
ORDER BY name, connections.kind, connections.id
