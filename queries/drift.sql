-- Drift of the platform
--
-- Fields, values and types that the platform sent and that this program did not know: nobody announces
-- them. They are archived whole all the same. The newest first.
--
-- Parameters:
--   :since  only what was first seen at this instant or later; default: all
--   :until  only what was first seen before it; default: all
--
-- Columns:
--   object         run, job, task or error
--   field          the field's name
--   what           field: it is new; value: it has a new value; type: it came as another type;
--                  volatile: its URLs differ in every answer, in their query alone
--   value          the new value, or its type; empty for a new field
--   first_seen_at  when it was first archived
--   runs           archived runs that carried it
--   connection     of an example: its connection's name, or its id where it has none
--   run_id         of the example: the run's id
SELECT
    object,
    field,
    what,
    value,
    drift.first_seen_at,
    drift.runs,
    coalesce(connections.name, connections.display_name, connections.id) AS connection,
    runs.id AS run_id
FROM drift
    JOIN runs ON runs.run_key = drift.example_run_key
    JOIN connections ON connections.connection_key = runs.connection_key
WHERE drift.first_seen_at >= coalesce(:since, '') AND drift.first_seen_at < coalesce(:until, '~')
ORDER BY drift.first_seen_at DESC, object, field, what, value;
