-- Activity by weekday and hour
--
-- When runs start, and how often they fail then: by weekday and hour of the day. Hours without runs
-- have no row.
--
-- Parameters:
--   :since       start of the period, an instant; default: the first run
--   :until       its end, not included; default: after the last run
--   :connection  a connection's id, kind:id where two kinds share an id, or a JSON array of
--                  such; an id alone means the export where there is one; default: all
--   :offsets     JSON array of [instant, minutes]: from each instant on, local time is so many
--                  minutes ahead of UTC; default: UTC throughout
--
-- Columns:
--   weekday       from 1, Monday, to 7, Sunday
--   hour          from 0 to 23
--   runs          runs that started then
--   failed        of these, failed
--   rated         succeeded, partly succeeded or failed
--   failure_rate  failed / rated, from 0 to 1; NULL where nothing was rated
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
offsets AS (
    SELECT
        json_extract(value, '$[0]') AS since,
        json_extract(value, '$[1]') AS minutes,
        lead(json_extract(value, '$[0]'), 1, '~') OVER (ORDER BY "key") AS until
    FROM json_each(coalesce(:offsets, '[["", 0]]'))
),
-- Local seconds since a Monday before the year 1: SQLite's calendar ends with the year 9999, and a date
-- for each run would take longer.
started AS (
    SELECT
        unixepoch(substr(started_at, 1, 19)) + 719169 * 86400 + minutes * 60 AS seconds,
        outcome
    FROM offsets
        CROSS JOIN chosen
        CROSS JOIN outcomes
        CROSS JOIN runs USING (connection_key, outcome)
    WHERE started_at >= max(coalesce(:since, ''), offsets.since)
        AND started_at < min(coalesce(:until, '~'), offsets.until)
)
SELECT
    seconds / 86400 % 7 + 1 AS weekday,
    seconds / 3600 % 24 AS hour,
    count(*) AS runs,
    count(*) FILTER (WHERE outcome = 'failed') AS failed,
    count(*) FILTER (WHERE outcome IN ('succeeded', 'partly succeeded', 'failed')) AS rated,
    count(*) FILTER (WHERE outcome = 'failed') * 1.0 / nullif(
        count(*) FILTER (WHERE outcome IN ('succeeded', 'partly succeeded', 'failed')), 0
    ) AS failure_rate
FROM started
GROUP BY weekday, hour
ORDER BY weekday, hour;
