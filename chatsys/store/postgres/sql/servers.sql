-- name: ping
SELECT current_setting('server_version'), current_database();

-- name: inspect_server
-- What has to be right before a store is opened.
SELECT current_setting('server_version_num')::int AS version_number, current_setting('server_version') AS version,
       current_setting('server_encoding') AS encoding, pg_is_in_recovery() AS standby,
       current_setting('transaction_read_only') = 'on' AS read_only,
       to_regclass('alembic_version') IS NOT NULL AS has_version, to_regclass('users') IS NOT NULL AS has_users;

-- name: schema_version
SELECT version_num FROM alembic_version;

-- name: renew_lease
-- Announce a server. $3 tells its process, if that is known.
INSERT INTO chat_servers (server_id, started_at, lease_until, process)
VALUES ($1, now(), clock_timestamp() + $2, $3)
ON CONFLICT (server_id) DO UPDATE SET lease_until = excluded.lease_until, process = excluded.process;

-- name: other_servers
SELECT server_id::text, lease_until, process FROM chat_servers WHERE server_id <> ALL ($1::uuid[]);

-- name: claim_dead_servers
-- Of the servers $1, and of those of $2 that have not renewed their lease $3 and do not hold their lock, the ones that
-- nobody else has ended. They can neither renew their lease nor take their lock until this transaction is over.
SELECT c.server_id::text FROM chat_servers c
WHERE c.server_id = ANY ($1::uuid[])
   OR ((c.server_id, c.lease_until) IN (SELECT * FROM unnest($2::uuid[], $3::timestamptz[]))
       AND pg_try_advisory_xact_lock(hashtextextended(c.server_id::text, 0)))
ORDER BY c.server_id FOR UPDATE;

-- name: prepare_lock_connection
-- It is idle for as long as the server lives. When the server's machine vanishes, PostgreSQL notices within $1 seconds.
SELECT set_config('idle_session_timeout', '0', false),
       set_config('tcp_keepalives_idle', ceil($1 / 4.0)::int::text, false),
       set_config('tcp_keepalives_interval', ceil($1 / 4.0)::int::text, false),
       set_config('tcp_keepalives_count', '2', false);

-- name: lock_server
-- False while an older connection of the server, which PostgreSQL takes for alive, still holds the lock.
SELECT pg_try_advisory_lock(hashtextextended($1::text, 0));

-- name: unlock_server
SELECT pg_advisory_unlock(hashtextextended($1::text, 0));

-- name: sessions_of_servers
-- The first $2 of their sessions, in order of joining.
SELECT session_id::text FROM active_sessions WHERE server_id = ANY ($1::uuid[]) ORDER BY place LIMIT $2;

-- name: forget_servers
DELETE FROM chat_servers WHERE server_id = ANY ($1::uuid[]);

-- name: notify
-- Payloads for other servers, in order, as one transaction.
SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload;
