-- Records set aside
--
-- What the platform sent as a run and could not be read as one: kept to the letter, and tried again by
-- later versions. The newest first.
--
-- Parameters:
--   :since       only those set aside at this instant or later; default: all
--   :until       only those set aside before it; default: all
--   :connection  a connection's id, kind:id where two kinds share an id, or a JSON array of
--                  such; an id alone means the export where there is one; default: all
--   :limit       how many rows at most; default: all
--
-- Columns:
--   reject_key     its key in this archive
--   connection     the connection's name, or its id where it has none
--   connection_id  its id
--   rejected_at    when it was set aside
--   version        of the program that could not read it
--   reason         why not
--   bytes          how long it is
--   raw            the text, exactly as received
--   kind           export, storage or manifest
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
)
SELECT
    reject_key,
    connection,
    connection_id,
    rejected_at,
    version,
    reason,
    length(CAST(raw AS BLOB)) AS bytes,
    raw,
    kind
FROM chosen
    JOIN rejects USING (connection_key)
WHERE rejected_at >= coalesce(:since, '') AND rejected_at < coalesce(:until, '~')
ORDER BY reject_key DESC
LIMIT coalesce(:limit, -1);
