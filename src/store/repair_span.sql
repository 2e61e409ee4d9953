-- A length of time told anew, where both ends are real and in this order. In ticks of 100 ns, which is how the
-- platform writes its times: SQLite's own clock would round them.
UPDATE {table}
SET {column} = (
    SELECT iif(
        until >= since,
        ((unixepoch(substr(until, 1, 19)) - unixepoch(substr(since, 1, 19))) * 10000000
         + substr(until, 21, 7) - substr(since, 21, 7)) / 10000,
        NULL
    )
    FROM (SELECT {table}.started_at AS since, {until} AS until)
);
