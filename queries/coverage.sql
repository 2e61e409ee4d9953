-- Coverage
--
-- What the archive holds of each connection, and how far that is whole: everything that the platform
-- listed when the last complete walk began is archived.
--
-- Parameters:
--   :connection  a connection's id, kind:id where two kinds share an id, or a JSON array of
--                  such; an id alone means the export where there is one; default: all
--   :as_of       what is dated later is to come, and no freshness; default: now
--
-- Columns:
--   connection         its name, or its id where it has none
--   connection_id      its id
--   runs               archived runs
--   oldest_started_at  the oldest start archived
--   newest_started_at  the newest start archived
--   complete_as_of     when the last complete walk began, or when the platform last said that nothing had
--                      begun since; NULL: there was none
--   unfinished         archived runs that are not terminal
--   unlisted           archived runs that the platform no longer lists
--   without_start      archived runs without a start: in no period
--   rejects            records set aside because they could not be read as runs
--   gaps               times in which runs may have come and gone unseen
--   last_problem       why the last walk was not complete; NULL where it was
--   unlisted_at        when the platform first said that the connection does not exist
--   clock_ahead_at     what the last complete walk is dated, where that is to come: the clock was wrong then
--   pruned             runs that `archive prune` took out; they count as archived and do not come back
--   pruned_before      the last prune of its runs took those that began before this; NULL: there was none
--   pruned_at          when that was
--   kind               export, storage or manifest
--   connection_key     its key in this file
WITH asked (connection) AS (
    SELECT value
    FROM json_each(iif(:connection LIKE '[%', :connection, json_array('' || :connection)))
),
chosen AS (
    SELECT connection_key, kind, id AS connection_id, coalesce(name, display_name, id) AS connection
    FROM connections
    WHERE :connection IS NULL
        OR kind || ':' || id IN asked
        OR id IN asked
            AND (kind = 'export' OR id IN (SELECT id FROM connections GROUP BY id HAVING count(*) = 1))
),
outcomes (outcome) AS (
    VALUES ('succeeded'), ('partly succeeded'), ('failed'), ('canceled'), ('skipped'),
        ('undetermined'), ('unfinished')
),
edges AS (
    SELECT
        connection_key,
        min((SELECT min(started_at) FROM runs WHERE connection_key = chosen.connection_key
            AND outcome = outcomes.outcome AND started_at >= '')) AS oldest_started_at,
        max((SELECT max(started_at) FROM runs WHERE connection_key = chosen.connection_key
            AND outcome = outcomes.outcome)) AS newest_started_at,
        sum((SELECT count(*) FROM runs WHERE connection_key = chosen.connection_key
            AND outcome = outcomes.outcome AND started_at IS NULL)) AS without_start
    FROM chosen
        CROSS JOIN outcomes
    GROUP BY connection_key
),
-- The words of the index runs_unlisted.
unlisted AS (
    SELECT connection_key, count(*) AS runs
    FROM runs
    WHERE unlisted_at IS NOT NULL
    GROUP BY connection_key
)
SELECT
    connection,
    connection_id,
    -- Counted as they are stored, so that nobody has to count a million runs.
    coalesce(checkpoints.listed, 0) + coalesce(unlisted.runs, 0) AS runs,
    oldest_started_at,
    edges.newest_started_at,
    -- A clock that was ahead once says nothing of freshness: the newest complete walk that is not to come does.
    iif(
        connection_coverage.complete_as_of > coalesce(:as_of, strftime('%Y-%m-%dT%H:%M:%f0000Z', 'now')),
        (
            SELECT started_at FROM walks
            WHERE walks.connection_key = chosen.connection_key AND complete = 1
                AND started_at <= coalesce(:as_of, strftime('%Y-%m-%dT%H:%M:%f0000Z', 'now'))
            ORDER BY walk_key DESC
            LIMIT 1
        ),
        connection_coverage.complete_as_of
    ) AS complete_as_of,
    (
        SELECT count(*) FROM runs
        WHERE runs.connection_key = chosen.connection_key AND state IS NOT 'Completed'
    ) AS unfinished,
    coalesce(unlisted.runs, 0) AS unlisted,
    without_start,
    (SELECT count(*) FROM rejects WHERE rejects.connection_key = chosen.connection_key) AS rejects,
    (SELECT count(*) FROM gaps WHERE gaps.connection_key = chosen.connection_key) AS gaps,
    connection_coverage.last_problem,
    connections.unlisted_at,
    iif(
        connection_coverage.complete_as_of > coalesce(:as_of, strftime('%Y-%m-%dT%H:%M:%f0000Z', 'now')),
        connection_coverage.complete_as_of,
        NULL
    ) AS clock_ahead_at,
    coalesce(checkpoints.pruned, 0) AS pruned,
    prunes.before AS pruned_before,
    prunes.pruned_at,
    chosen.kind,
    connection_key
FROM chosen
    JOIN connections USING (connection_key)
    JOIN edges USING (connection_key)
    LEFT JOIN checkpoints USING (connection_key)
    LEFT JOIN unlisted USING (connection_key)
    LEFT JOIN connection_coverage USING (connection_key)
    LEFT JOIN prunes ON prunes.prune_key = checkpoints.prune_key
ORDER BY connection, connection_id, chosen.kind;
