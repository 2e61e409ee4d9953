-- What reports call each connection: its display name where no other has the same, else with its iModel's
-- name before it, else with its id behind it; its id where it has none. Should two still be alike (an id
-- may be of two kinds, and a name may look like another's), the kind tells them apart, then a number.
UPDATE connections
SET name = named.name
FROM (
    SELECT
        connection_key,
        iif(count(*) OVER (PARTITION BY name) = 1, name, name || ' #' || connection_key) AS name
    FROM (
        SELECT
            connection_key,
            iif(count(*) OVER (PARTITION BY name) = 1, name, name || ' (' || kind || ')') AS name
        FROM (
            SELECT
                connection_key,
                kind,
                CASE
                    WHEN own IS NULL THEN id
                    WHEN count(*) OVER (PARTITION BY own) = 1 THEN own
                    WHEN imodel IS NOT NULL AND count(*) OVER (PARTITION BY own, imodel) = 1
                        THEN imodel || ': ' || own
                    WHEN imodel IS NOT NULL THEN imodel || ': ' || own || ' (' || id || ')'
                    ELSE own || ' (' || id || ')'
                END AS name
            FROM (
                SELECT
                    connection_key,
                    connections.kind,
                    connections.id,
                    nullif(connections.display_name, '') AS own,
                    nullif(imodels.display_name, '') AS imodel
                FROM connections
                    LEFT JOIN imodels ON imodels.id = connections.imodel_id
            )
        )
    )
) AS named
WHERE named.connection_key = connections.connection_key AND named.name IS NOT connections.name;
