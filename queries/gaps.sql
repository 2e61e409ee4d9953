-- Gaps
--
-- Times in which runs may have come and gone unseen: the platform's oldest listed run was newer than
-- the newest archived one. The newest first.
--
-- Parameters:
--   :since       only gaps that end after this instant; default: all
--   :until       only gaps that begin before it; default: all
--   :connection  a connection's id, kind:id where two kinds share an id, or a JSON array of
--                  such; an id alone means the export where there is one; default: all
--
-- Columns:
--   connection     its name, or its id where it has none
--   connection_id  its id
--   after          start of the newest run archived before
--   until          start of the oldest run listed then
--   noticed_at     when it was noticed
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
SELECT connection, connection_id, gaps.after, gaps.until, noticed_at, kind
FROM chosen
    JOIN gaps USING (connection_key)
WHERE gaps.until > coalesce(:since, '') AND gaps.after < coalesce(:until, '~')
ORDER BY gaps.until DESC, connection, connection_id, kind;
