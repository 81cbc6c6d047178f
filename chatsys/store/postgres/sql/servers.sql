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
-- Announce a server. $3: it has taken its advisory lock just now; NULL: it holds it since before, or can't.
INSERT INTO chat_servers (server_id, started_at, lease_until, locked_at)
VALUES ($1, now(), now() + $2, CASE WHEN $3 THEN clock_timestamp() END)
ON CONFLICT (server_id) DO UPDATE SET
    lease_until = excluded.lease_until, locked_at = coalesce(excluded.locked_at, chat_servers.locked_at);

-- name: dead_servers
-- Servers other than $1 whose lease is over, or whose advisory lock is free though they took it since PostgreSQL's own
-- start: the process that held it is gone.
SELECT c.server_id::text FROM chat_servers c
WHERE c.server_id <> ALL ($1::uuid[])
  AND CASE WHEN c.lease_until < now() THEN true
           WHEN c.locked_at > pg_postmaster_start_time() THEN
               pg_try_advisory_xact_lock(hashtextextended(c.server_id::text, 0))
           ELSE false END;

-- name: lock_server
SELECT pg_advisory_lock(hashtextextended($1::text, 0));

-- name: unlock_server
SELECT pg_advisory_unlock(hashtextextended($1::text, 0));

-- name: sessions_of_servers
SELECT session_id::text FROM active_sessions WHERE server_id = ANY ($1::uuid[]);

-- name: forget_servers
DELETE FROM chat_servers WHERE server_id = ANY ($1::uuid[]);

-- name: notify
-- Each payload to its channel, in order, as one transaction.
SELECT pg_notify(channel, payload) FROM unnest($1::text[], $2::text[]) AS n (channel, payload);

-- name: bus_key
SELECT key FROM bus_key;

-- name: living_servers
-- Others than $1, and until when they live.
SELECT server_id::text, lease_until FROM chat_servers WHERE server_id <> $1 AND lease_until > now();
