-- How many runs of a connection started at a time or later. Outcome by outcome, because that is the order of
-- the index runs_by_outcome: a few ranges of it are read, not the connection's whole history.
WITH outcomes (outcome) AS (
    VALUES ('succeeded'), ('partly succeeded'), ('failed'), ('canceled'), ('skipped'),
        ('undetermined'), ('unfinished')
)
SELECT coalesce(sum((
    SELECT count(*) FROM runs
    WHERE connection_key = :connection_key AND runs.outcome = outcomes.outcome AND started_at >= :since
)), 0)
FROM outcomes
