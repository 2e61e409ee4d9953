-- Sightings of an error
--
-- Where an error occurred: on connections before an instant, and on all of them in a period.
--
-- Parameters:
--   :error   the error's key in this file
--   :keys    JSON array of keys of connections in this file; default: none
--   :before  an instant; default: after the last run
--   :since   start of the period, an instant; default: the first run
--   :until   its end, not included; default: after the last run
--
-- Columns:
--   runs_before         runs of these connections that had it before the instant
--   last_before         the start of the newest of them
--   other_connections   connections other than these that had it in the period
--   other_runs          their runs in the period that had it
WITH here AS (
    SELECT value AS connection_key
    FROM json_each(coalesce(:keys, '[]'))
),
others AS (
    SELECT count(*) AS runs
    FROM connections
        CROSS JOIN error_runs USING (connection_key)
    WHERE error_kind_key = :error
        AND started_at >= coalesce(:since, '') AND started_at < coalesce(:until, '~')
        AND connection_key NOT IN here
    GROUP BY connection_key
)
SELECT
    count(*) AS runs_before,
    max(started_at) AS last_before,
    (SELECT count(*) FROM others) AS other_connections,
    (SELECT coalesce(sum(runs), 0) FROM others) AS other_runs
FROM here
    CROSS JOIN error_runs USING (connection_key)
WHERE error_kind_key = :error AND started_at < coalesce(:before, '~');
