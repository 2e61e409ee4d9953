-- Gaps
--
-- Times in which runs may have come and gone unseen: the platform's oldest listed run was newer than
-- the newest archived one. The newest first.
--
-- Parameters:
--   :since       only gaps that end after this instant; default: all
--   :until       only gaps that begin before it; default: all
--   :connection  a connection's id, or a JSON array of ids; default: all
--
-- Columns:
--   connection     its name, or its id where it has none
--   connection_id  its id
--   after          start of the newest run archived before
--   until          start of the oldest run listed then
--   noticed_at     when it was noticed
WITH chosen AS (
    SELECT connection_key, id AS connection_id, coalesce(name, display_name, id) AS connection
    FROM connections
    WHERE :connection IS NULL
        OR id IN (
            SELECT value
            FROM json_each(iif(:connection LIKE '[%', :connection, json_array('' || :connection)))
        )
)
SELECT connection, connection_id, gaps.after, gaps.until, noticed_at
FROM chosen
    JOIN gaps USING (connection_key)
WHERE gaps.until > coalesce(:since, '') AND gaps.after < coalesce(:until, '~')
ORDER BY gaps.until DESC, connection, connection_id;
