-- Records set aside
--
-- What the platform sent as a run and could not be read as one: kept to the letter, and tried again by
-- later versions. The newest first.
--
-- Parameters:
--   :since       only those set aside at this instant or later; default: all
--   :until       only those set aside before it; default: all
--   :connection  a connection's id, or a JSON array of ids; default: all
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
WITH chosen AS (
    SELECT connection_key, id AS connection_id, coalesce(name, display_name, id) AS connection
    FROM connections
    WHERE :connection IS NULL
        OR id IN (
            SELECT value
            FROM json_each(iif(:connection LIKE '[%', :connection, json_array('' || :connection)))
        )
)
SELECT
    reject_key,
    connection,
    connection_id,
    rejected_at,
    version,
    reason,
    length(CAST(raw AS BLOB)) AS bytes,
    raw
FROM chosen
    JOIN rejects USING (connection_key)
WHERE rejected_at >= coalesce(:since, '') AND rejected_at < coalesce(:until, '~')
ORDER BY reject_key DESC
LIMIT coalesce(:limit, -1);
