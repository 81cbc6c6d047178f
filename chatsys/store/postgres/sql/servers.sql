-- name: ping
SELECT current_setting('server_version'), current_database();

-- name: inspect_server
-- What is checked before a store opens.
SELECT current_setting('server_version_num')::int AS version_number, current_setting('server_version') AS version,
       current_setting('server_encoding') AS encoding, pg_is_in_recovery() AS standby,
       current_setting('transaction_read_only') = 'on' AS read_only,
       to_regclass('alembic_version') IS NOT NULL AS has_version, to_regclass('users') IS NOT NULL AS has_users;

-- name: check_writing
-- Commits one row without changing it, and tells whether the role may store messages.
WITH touched AS (UPDATE chat_servers SET started_at = started_at WHERE server_id = $1 RETURNING 1)
SELECT (SELECT count(*) FROM touched), has_table_privilege('messages', 'INSERT');

-- name: set_limits
-- Within a transaction: how long its statements may run and wait for locks.
SELECT set_config('statement_timeout', $1, true), set_config('lock_timeout', $1, true);

-- name: locked_rows
-- The rows that another transaction has locked: rooms by name; users, messages and sessions (or their users) by id.
-- A row that does not exist is not locked.
WITH free_room AS MATERIALIZED (
    SELECT room_name FROM rooms WHERE room_name = ANY ($1::text[]) FOR NO KEY UPDATE SKIP LOCKED
), session_user_id AS MATERIALIZED (
    SELECT session_id, user_id FROM active_sessions WHERE session_id = ANY ($4::uuid[])
), free_user AS MATERIALIZED (
    SELECT user_id FROM users
    WHERE user_id = ANY ($2::uuid[] || ARRAY(SELECT user_id FROM session_user_id WHERE user_id IS NOT NULL))
    FOR NO KEY UPDATE SKIP LOCKED
), free_message AS MATERIALIZED (
    SELECT message_id FROM messages WHERE message_id = ANY ($3::uuid[]) FOR KEY SHARE SKIP LOCKED
), free_session AS MATERIALIZED (
    SELECT session_id FROM active_sessions WHERE session_id = ANY ($4::uuid[]) FOR UPDATE SKIP LOCKED
)
SELECT 'room', room_name::text FROM rooms
WHERE room_name = ANY ($1::text[]) AND room_name NOT IN (SELECT room_name FROM free_room)
UNION ALL
SELECT 'user', user_id::text FROM users
WHERE user_id = ANY ($2::uuid[]) AND user_id NOT IN (SELECT user_id FROM free_user)
UNION ALL
SELECT 'message', message_id::text FROM messages
WHERE message_id = ANY ($3::uuid[]) AND message_id NOT IN (SELECT message_id FROM free_message)
UNION ALL
SELECT 'session', session_id::text FROM session_user_id
WHERE session_id NOT IN (SELECT session_id FROM free_session)
   OR user_id IS NOT NULL AND user_id NOT IN (SELECT user_id FROM free_user);

-- name: wait_for_room
-- Returns when no other transaction has the row locked, as do the next three.
SELECT FROM rooms WHERE room_name = $1 FOR NO KEY UPDATE;

-- name: wait_for_user
SELECT FROM users WHERE user_id = $1 FOR NO KEY UPDATE;

-- name: wait_for_message
SELECT FROM messages WHERE message_id = $1 FOR KEY SHARE;

-- name: wait_for_session
-- The session's user is locked first, as in end_sessions.
WITH account AS MATERIALIZED (
    SELECT u.user_id FROM users u WHERE u.user_id = (SELECT s.user_id FROM active_sessions s WHERE s.session_id = $1)
    FOR NO KEY UPDATE
)
SELECT FROM active_sessions s, (SELECT count(*) FROM account) a WHERE s.session_id = $1 FOR UPDATE OF s;

-- name: schema_version
SELECT version_num FROM alembic_version;

-- name: renew_lease
-- Registers a server or renews its lease. $3 identifies its process, if known.
INSERT INTO chat_servers (server_id, started_at, lease_until, process)
VALUES ($1, now(), clock_timestamp() + $2, $3)
ON CONFLICT (server_id) DO UPDATE SET lease_until = excluded.lease_until, process = excluded.process;

-- name: other_servers
SELECT server_id::text, lease_until, process FROM chat_servers WHERE server_id <> ALL ($1::uuid[]);

-- name: claim_dead_servers
-- Claims dead servers that no other server has removed yet: those of $1, and those of $2 that have not renewed their
-- lease $3 and do not hold their lock. Until this transaction ends, they can neither renew the lease nor take the lock.
SELECT c.server_id::text FROM chat_servers c
WHERE c.server_id = ANY ($1::uuid[])
   OR ((c.server_id, c.lease_until) IN (SELECT * FROM unnest($2::uuid[], $3::timestamptz[]))
       AND pg_try_advisory_xact_lock(hashtextextended(c.server_id::text, 0)))
ORDER BY c.server_id FOR UPDATE;

-- name: prepare_lock_connection
-- The connection is idle while the server lives. If the server's machine vanishes, PostgreSQL notices in $1 seconds.
SELECT set_config('idle_session_timeout', '0', false),
       set_config('tcp_keepalives_idle', ceil($1 / 4.0)::int::text, false),
       set_config('tcp_keepalives_interval', ceil($1 / 4.0)::int::text, false),
       set_config('tcp_keepalives_count', '2', false);

-- name: lock_server
-- False while an older connection of the server, which PostgreSQL believes to be alive, still holds the lock.
SELECT pg_try_advisory_lock(hashtextextended($1::text, 0));

-- name: unlock_server
SELECT pg_advisory_unlock(hashtextextended($1::text, 0));

-- name: sessions_of_servers
-- The first $2 of their sessions, in order of joining.
SELECT session_id::text FROM active_sessions WHERE server_id = ANY ($1::uuid[]) ORDER BY place LIMIT $2;

-- name: forget_servers
DELETE FROM chat_servers WHERE server_id = ANY ($1::uuid[]);

-- name: notify
-- Sends each payload to its channel, in order, in one transaction.
SELECT pg_notify(channel, payload) FROM unnest($1::text[], $2::text[]) AS n (channel, payload);

-- name: free_notify_queue
-- The share of NOTIFY's queue that is in use. Once the queue is full, only this function drops what all have read.
SELECT pg_notification_queue_usage();

-- name: bus_key
SELECT key FROM bus_key;

-- name: living_servers
-- The servers other than $1 that are alive, and the ends of their leases.
SELECT server_id::text, lease_until FROM chat_servers WHERE server_id <> $1 AND lease_until > now();
