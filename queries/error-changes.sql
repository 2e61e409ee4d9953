-- Errors that are new, returned or gone
--
-- The errors of a period against all that came before it: new ones never occurred before, returned
-- ones did, but not in the period compared with; known ones did there too; gone ones did there, and
-- not since.
--
-- Parameters:
--   :since          start of the period, an instant; default: the first run
--   :until          its end, not included; default: after the last run
--   :compare_since  start of the period compared with; default: one of the same length before :since
--   :compare_until  its end, not included; default: :since
--   :connection     a connection's id, kind:id where two kinds share an id, or a JSON array of
--                     such; an id alone means the export where there is one; default: all
--
-- Columns:
--   change              new, returned, known or gone
--   error_code          such as TAE_BRW_1000
--   description_key     the stable key, such as FailedToExport
--   runs                runs of the period that had it
--   connections         connections that had it in the period
--   runs_before         runs of the period compared with that had it
--   connections_before  connections that had it there
--   last_seen_before    start of the newest run before :since that had it
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
compared AS (
    SELECT
        coalesce(
            :compare_since,
            strftime('%Y-%m-%dT%H:%M:%f0000Z', 2 * julianday(:since) - julianday(:until)),
            ''
        ) AS since,
        coalesce(:compare_until, :since, '') AS until
),
now AS (
    SELECT
        error_code,
        description_key,
        count(DISTINCT run_key) AS runs,
        count(DISTINCT connection_key) AS connections
    FROM error_kinds
        CROSS JOIN chosen
        CROSS JOIN error_runs USING (error_kind_key, connection_key)
    WHERE started_at >= coalesce(:since, '') AND started_at < coalesce(:until, '~')
    GROUP BY error_code, description_key
),
before AS (
    SELECT
        error_code,
        description_key,
        count(DISTINCT run_key) AS runs,
        count(DISTINCT connection_key) AS connections
    FROM compared
        CROSS JOIN error_kinds
        CROSS JOIN chosen
        CROSS JOIN error_runs USING (error_kind_key, connection_key)
    WHERE started_at >= compared.since AND started_at < compared.until
    GROUP BY error_code, description_key
),
-- Found at the edge of an index for each connection, however long the history is.
ever AS (
    SELECT
        error_code,
        description_key,
        max((
            SELECT max(started_at)
            FROM error_runs
            WHERE error_runs.error_kind_key = error_kinds.error_kind_key
                AND error_runs.connection_key = chosen.connection_key
                AND error_runs.started_at < coalesce(:since, '')
        )) AS last_seen_before
    FROM error_kinds
        CROSS JOIN chosen
    GROUP BY error_code, description_key
),
told AS (
    SELECT
        CASE
            WHEN now.runs IS NULL THEN iif(before.runs > 0, 'gone', NULL)
            WHEN before.runs > 0 THEN 'known'
            WHEN last_seen_before IS NULL THEN 'new'
            ELSE 'returned'
        END AS change,
        ever.error_code,
        ever.description_key,
        coalesce(now.runs, 0) AS runs,
        coalesce(now.connections, 0) AS connections,
        coalesce(before.runs, 0) AS runs_before,
        coalesce(before.connections, 0) AS connections_before,
        last_seen_before
    FROM ever
        LEFT JOIN now ON now.error_code IS ever.error_code
            AND now.description_key IS ever.description_key
        LEFT JOIN before ON before.error_code IS ever.error_code
            AND before.description_key IS ever.description_key
)
SELECT *
FROM told
WHERE change IS NOT NULL
ORDER BY
    CASE change WHEN 'new' THEN 1 WHEN 'returned' THEN 2 WHEN 'known' THEN 3 ELSE 4 END,
    runs DESC,
    runs_before DESC,
    error_code,
    description_key;
