-- Failing streaks and recovery
--
-- Per connection: how many of its newest rated runs failed in a row, how long ago the last one
-- succeeded at least partly, and how long recovering took in the period. A recovery is a success after
-- at least one failure; it took from the start of the first of these to the start of the success.
--
-- Parameters:
--   :since       start of the period that recoveries are counted in, an instant; default: the first
--                  run
--   :until       its end, not included; default: after the last run
--   :connection  a connection's id, kind:id where two kinds share an id, or a JSON array of
--                  such; an id alone means the export where there is one; default: all
--   :as_of       runs that started later are left out of the streak; default: now
--
-- Columns:
--   connection                its name, or its id where it has none
--   connection_id             its id
--   failures                  failed runs since the last success; 0 where the newest rated run
--                               succeeded
--   failing_since             start of the first of them
--   last_success_at           start of the newest run that succeeded at least partly; NULL: none
--                               ever did
--   since_last_success_ms     from then to :as_of, in milliseconds
--   recoveries                recoveries in the period
--   mean_time_to_recovery_ms  the mean over these, in milliseconds; NULL where there is none
--   recovery_ms_in_all        their sum, to take means over several connections
--   kind                      export, storage or manifest
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
last_success AS (
    SELECT
        connection_key,
        -- Each is found at the edge of the index; '' stands for never.
        max(
            coalesce((SELECT max(started_at) FROM runs
                WHERE connection_key = chosen.connection_key AND outcome = 'succeeded'
                    AND started_at <= coalesce(:as_of, strftime('%Y-%m-%dT%H:%M:%f0000Z', 'now'))), ''),
            coalesce((SELECT max(started_at) FROM runs
                WHERE connection_key = chosen.connection_key AND outcome = 'partly succeeded'
                    AND started_at <= coalesce(:as_of, strftime('%Y-%m-%dT%H:%M:%f0000Z', 'now'))), '')
        ) AS started_at
    FROM chosen
),
streaks AS (
    SELECT
        last_success.connection_key,
        nullif(last_success.started_at, '') AS last_success_at,
        count(runs.run_key) AS failures,
        min(runs.started_at) AS failing_since
    FROM last_success
        LEFT JOIN runs ON runs.connection_key = last_success.connection_key
            AND runs.outcome = 'failed'
            AND runs.started_at > last_success.started_at
            AND runs.started_at <= coalesce(:as_of, strftime('%Y-%m-%dT%H:%M:%f0000Z', 'now'))
    GROUP BY last_success.connection_key
),
successes AS (
    SELECT
        connection_key,
        started_at,
        lag(started_at) OVER (PARTITION BY connection_key ORDER BY started_at) AS previous
    FROM chosen
        CROSS JOIN (SELECT 'succeeded' AS outcome UNION ALL SELECT 'partly succeeded')
        CROSS JOIN runs USING (connection_key, outcome)
    WHERE started_at >= coalesce(:since, '') AND started_at < coalesce(:until, '~')
),
-- The first success of the period follows one that lies before it.
bounded AS (
    SELECT
        connection_key,
        started_at,
        coalesce(
            previous,
            max(
                coalesce((SELECT max(started_at) FROM runs
                    WHERE connection_key = successes.connection_key AND outcome = 'succeeded'
                        AND started_at < successes.started_at), ''),
                coalesce((SELECT max(started_at) FROM runs
                    WHERE connection_key = successes.connection_key
                        AND outcome = 'partly succeeded'
                        AND started_at < successes.started_at), '')
            )
        ) AS previous
    FROM successes
),
recovered AS (
    SELECT
        connection_key,
        started_at,
        (
            SELECT min(started_at)
            FROM runs
            WHERE connection_key = bounded.connection_key AND outcome = 'failed'
                AND started_at > bounded.previous AND started_at < bounded.started_at
        ) AS failing_since
    FROM bounded
),
recoveries AS (
    SELECT
        connection_key,
        count(*) AS recoveries,
        sum((
            (unixepoch(substr(started_at, 1, 19))
                - unixepoch(substr(failing_since, 1, 19))) * 10000000
            + substr(started_at, 21, 7) - substr(failing_since, 21, 7)
        ) / 10000) AS recovery_ms
    FROM recovered
    WHERE failing_since IS NOT NULL
    GROUP BY connection_key
)
SELECT
    connection,
    connection_id,
    failures,
    failing_since,
    last_success_at,
    (
        (unixepoch(substr(coalesce(:as_of, strftime('%Y-%m-%dT%H:%M:%f0000Z', 'now')), 1, 19))
            - unixepoch(substr(last_success_at, 1, 19))) * 10000000
        + substr(coalesce(:as_of, strftime('%Y-%m-%dT%H:%M:%f0000Z', 'now')), 21, 7) - substr(last_success_at, 21, 7)
    ) / 10000 AS since_last_success_ms,
    coalesce(recoveries, 0) AS recoveries,
    recovery_ms / recoveries AS mean_time_to_recovery_ms,
    coalesce(recovery_ms, 0) AS recovery_ms_in_all,
    kind
FROM chosen
    JOIN streaks USING (connection_key)
    LEFT JOIN recoveries USING (connection_key)
ORDER BY failures DESC, connection, connection_id, kind;
