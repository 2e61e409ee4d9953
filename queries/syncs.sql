-- Syncs and imports
--
-- What was asked of the platform and what came of it, the newest first.
--
-- Parameters:
--   :since  only those that began at this instant or later; default: all
--   :until  only those that began before it; default: all
--   :limit  how many rows at most; default: all
--
-- Columns:
--   command     sync or import
--   started_at  when it began
--   ended_at    when it ended; NULL while it runs, and where it was killed
--   outcome     running, done, partial, failed or interrupted
--   exit_code   as the shell saw it
--   problem     the worst thing that went wrong
--   imodels     iModels asked for their connections
--   connections  connections that it was for
--   quiet       of these, those that nothing was asked about, because nothing had begun
--   requests    sent, retries included
--   pages       pages of runs received
--   listed      runs met
--   new         runs stored for the first time
--   changed     runs whose content had changed
--   rejected    records set aside
SELECT
    command,
    started_at,
    ended_at,
    outcome,
    exit_code,
    problem,
    imodels,
    connections,
    quiet,
    requests,
    pages,
    listed,
    new,
    changed,
    rejected
FROM syncs
WHERE started_at >= coalesce(:since, '') AND started_at < coalesce(:until, '~')
ORDER BY sync_key DESC
LIMIT coalesce(:limit, -1);
