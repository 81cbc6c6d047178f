-- Databases whose oldest transaction is far older than autovacuum should allow.
SELECT datname AS object,
       format('the oldest of its transactions is %s transactions old; autovacuum should freeze it at %s, and at '
              '2,000 million PostgreSQL stops', to_char(age, 'FM999,999,999,999'), to_char(wanted, 'FM999,999,999,999'))
           AS evidence,
       format('vacuumdb --freeze --dbname=%I   (first end what holds it back: old transactions, slots)', datname) AS command
FROM (
    SELECT datname, greatest(age(datfrozenxid), mxid_age(datminmxid)) AS age,
           current_setting('autovacuum_freeze_max_age')::bigint AS wanted
    FROM pg_database WHERE datallowconn
) d
WHERE age > least(wanted * :wraparound_factor, 1000000000)
ORDER BY age DESC;
