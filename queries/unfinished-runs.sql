-- Unfinished runs
--
-- Runs that are not terminal, whenever they started, with their age, the oldest first. One that the
-- platform no longer lists will never be seen to end.
--
-- Parameters:
--   :connection         a connection's id, kind:id where two kinds share an id, or a JSON array of
--                         such; an id alone means the export where there is one; default: all
--   :as_of              the instant that ages are counted to; default: now
--   :stuck_after_hours  an older run counts as stuck; default: 24
--   :limit              how many rows at most; default: all
--
-- Columns:
--   connection         its name, or its id where it has none
--   connection_id      its id
--   run_id             the run's id
--   state              as the platform said last
--   started_at         its start; NULL where it has none
--   age_ms             from then to :as_of, in milliseconds; NULL where that is not later
--   is_stuck           1: it is older than :stuck_after_hours
--   is_unlisted        1: the platform no longer lists it
--   changed_at         when it was first archived, or last moved
--   answered_at        when the platform last answered about it, in a listing or by its id: it is asked with
--                      growing pauses
--   answer_age_ms      from then to :as_of, in milliseconds; NULL where that is not later
--   unfinished_in_all  how many there are, whatever the limit
--   stuck_in_all       how many of them are stuck
--   unlisted_in_all    how many of them are no longer listed
--   oldest_answer_at   the answer that is oldest, whatever the limit
--   oldest_answer_age_ms  from then to :as_of, in milliseconds; NULL where that is not later
--   kind               export, storage or manifest
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
-- Both ends of the age in ticks of 100 ns: SQLite's own clock would round.
aged AS (
    SELECT
        kind,
        connection,
        connection_id,
        runs.run_key,
        runs.id AS run_id,
        state,
        started_at,
        unlisted_at IS NOT NULL AS is_unlisted,
        iif(started_at <= coalesce(:as_of, strftime('%Y-%m-%dT%H:%M:%f0000Z', 'now')), (
            (unixepoch(substr(coalesce(:as_of, strftime('%Y-%m-%dT%H:%M:%f0000Z', 'now')), 1, 19))
                - unixepoch(substr(started_at, 1, 19))) * 10000000
            + substr(coalesce(:as_of, strftime('%Y-%m-%dT%H:%M:%f0000Z', 'now')), 21, 7) - substr(started_at, 21, 7)
        ) / 10000, NULL) AS age_ms,
        changed_at,
        answered_at,
        iif(answered_at <= coalesce(:as_of, strftime('%Y-%m-%dT%H:%M:%f0000Z', 'now')), (
            (unixepoch(substr(coalesce(:as_of, strftime('%Y-%m-%dT%H:%M:%f0000Z', 'now')), 1, 19))
                - unixepoch(substr(answered_at, 1, 19))) * 10000000
            + substr(coalesce(:as_of, strftime('%Y-%m-%dT%H:%M:%f0000Z', 'now')), 21, 7) - substr(answered_at, 21, 7)
        ) / 10000, NULL) AS answer_age_ms
    FROM chosen
        CROSS JOIN runs USING (connection_key)
        LEFT JOIN unfinished_runs ON unfinished_runs.run_key = runs.run_key
    -- The words of the index runs_unfinished.
    WHERE state IS NOT 'Completed'
),
told AS (
    SELECT *, coalesce(age_ms > coalesce(:stuck_after_hours, 24) * 3600000, 0) AS is_stuck
    FROM aged
)
SELECT
    connection,
    connection_id,
    run_id,
    state,
    started_at,
    age_ms,
    is_stuck,
    is_unlisted,
    changed_at,
    answered_at,
    answer_age_ms,
    count(*) OVER () AS unfinished_in_all,
    sum(is_stuck) OVER () AS stuck_in_all,
    sum(is_unlisted) OVER () AS unlisted_in_all,
    min(answered_at) OVER () AS oldest_answer_at,
    max(answer_age_ms) OVER () AS oldest_answer_age_ms,
    kind
FROM told
ORDER BY started_at IS NULL, started_at, connection, run_key
LIMIT coalesce(:limit, -1);
