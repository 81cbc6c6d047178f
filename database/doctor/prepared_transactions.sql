-- Two-phase commits that nobody has finished: they keep their locks even after a restart.
SELECT gid AS object,
       format('prepared by %s in %s, %s s ago', owner, database, round(extract(epoch FROM clock_timestamp() - prepared)))
           AS evidence,
       format('ROLLBACK PREPARED %L;   or COMMIT PREPARED, as its coordinator decided', gid) AS command
FROM pg_prepared_xacts
WHERE prepared < clock_timestamp() - make_interval(secs => :transaction_seconds)
ORDER BY prepared;
