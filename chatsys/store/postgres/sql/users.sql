-- name: create_user
-- A new account. The unique constraints reject a taken name or email.
INSERT INTO users (user_id, username, email, password, display_name, avatar, bio, status, last_seen, created_at, last_login)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);

-- name: user_by_id
SELECT user_id::text, username, email, password, display_name, avatar, bio, status, last_seen, created_at, last_login
FROM users WHERE user_id = $1 AND removed_at IS NULL;

-- name: user_by_name
SELECT user_id::text, username, email, password, display_name, avatar, bio, status, last_seen, created_at, last_login
FROM users WHERE username = $1;

-- name: user_by_email
-- Emails are stored in lower case.
SELECT user_id::text, username, email, password, display_name, avatar, bio, status, last_seen, created_at, last_login
FROM users WHERE email = $1;

-- name: list_users
-- The newest accounts, along users_created_at_idx.
SELECT user_id::text, username, email, password, display_name, avatar, bio, status, last_seen, created_at, last_login
FROM users WHERE removed_at IS NULL ORDER BY created_at DESC, user_id DESC LIMIT $1;

-- name: search_users
-- plan: custom
-- $1 is a LIKE pattern. If few names contain it, the trigram indexes are faster, otherwise a walk along the names. So
-- the statement is planned each time for its pattern.
SELECT user_id::text, username, email, password, display_name, avatar, bio, status, last_seen, created_at, last_login
FROM users
WHERE (fold_case(username) LIKE $1 OR fold_case(display_name) LIKE $1) AND removed_at IS NULL
ORDER BY username COLLATE "C" LIMIT $2;

-- name: update_user
-- NULL leaves a column unchanged.
UPDATE users SET
    display_name = coalesce($2, display_name), avatar = coalesce($3, avatar), bio = coalesce($4, bio),
    password = coalesce($5, password)
WHERE user_id = $1 AND removed_at IS NULL
RETURNING user_id::text, username, email, password, display_name, avatar, bio, status, last_seen, created_at, last_login;

-- name: find_login
-- $1 is the username or email as typed, $2 the same in lower case, by which failures are counted. Returns one row: the
-- failures, and the account or NULL.
SELECT f.failed_at, u.user_id::text, u.username, u.email, u.password, u.display_name, u.avatar, u.bio, u.status,
       u.last_seen, u.created_at, u.last_login
FROM (SELECT) one
LEFT JOIN login_failures f ON f.typed = $2 AND f.address = $3
LEFT JOIN users u ON u.user_id = coalesce((SELECT user_id FROM users WHERE username = $1),
                                          (SELECT user_id FROM users WHERE email = $2))
                  AND u.removed_at IS NULL;

-- name: record_failure
-- Keeps the newest $4 failures. Also deletes a few rows of other attempts that are older than $5.
WITH old AS (
    DELETE FROM login_failures WHERE (typed, address) IN (
        SELECT typed, address FROM login_failures WHERE last_at < $3::timestamptz - $5::interval
        ORDER BY last_at LIMIT 10 FOR UPDATE SKIP LOCKED
    ) AND NOT (typed = $1 AND address = $2)
)
INSERT INTO login_failures AS f (typed, address, failed_at, last_at) VALUES ($1, $2, ARRAY[$3::timestamptz], $3)
ON CONFLICT (typed, address) DO UPDATE SET
    failed_at = (f.failed_at || excluded.failed_at)[greatest(1, cardinality(f.failed_at) + 2 - $4::int):],
    last_at = excluded.last_at
RETURNING failed_at;

-- name: record_login
-- Changes nothing if the attempt ($3 and $4) is refused by now, after $5 failures within $6.
WITH refused AS MATERIALIZED (
    SELECT FROM login_failures f
    WHERE f.typed = $3 AND f.address = $4 AND cardinality(f.failed_at) >= $5::int AND f.last_at + $6::interval > $2
      AND f.last_at - f.failed_at[cardinality(f.failed_at) + 1 - $5::int] < $6::interval
), forgotten AS (
    DELETE FROM login_failures WHERE typed = $3 AND address = $4 AND NOT EXISTS (SELECT FROM refused)
)
UPDATE users SET last_login = $2 WHERE user_id = $1 AND removed_at IS NULL AND NOT EXISTS (SELECT FROM refused)
RETURNING user_id::text, username, email, password, display_name, avatar, bio, status, last_seen, created_at, last_login;

-- name: set_online
-- Many users at once, locked in order of their ids, as in every statement.
WITH given AS (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::timestamptz[]) AS g (user_id, status, at)
), found AS MATERIALIZED (
    SELECT u.user_id FROM users u WHERE u.user_id IN (SELECT g.user_id FROM given g) AND u.removed_at IS NULL
    ORDER BY u.user_id FOR NO KEY UPDATE
)
UPDATE users u SET status = g.status, last_seen = g.at
FROM given g JOIN found f ON f.user_id = g.user_id
WHERE u.user_id = g.user_id
RETURNING u.user_id::text, u.username, u.email, u.password, u.display_name, u.avatar, u.bio, u.status, u.last_seen,
    u.created_at, u.last_login;

-- name: lock_user
-- Locked before the sessions, so that nobody joins as this user from here on. True if the user's deletion has begun.
SELECT removed_at IS NOT NULL FROM users WHERE user_id = $1 FOR UPDATE;

-- name: lock_rooms_of_sessions
-- The rooms in which the user's sessions will end. Rooms are locked before users.
SELECT r.room_id::text FROM rooms r WHERE r.room_id IN (SELECT s.room_id FROM active_sessions s WHERE s.user_id = $1)
ORDER BY r.room_id FOR KEY SHARE;

-- name: sessions_of_user
SELECT session_id::text FROM active_sessions WHERE user_id = $1;

-- name: retire_user
-- Hides the account and frees its name and email. The new values can't collide with those of an account: usernames have
-- no spaces, and emails have an @.
UPDATE users SET
    removed_at = $2, username = 'removed ' || user_id, email = 'removed ' || user_id, password = '',
    display_name = 'removed', avatar = '', bio = '', status = 'offline'
WHERE user_id = $1;

-- name: removed_users
-- Accounts whose deletion began before $1 and is not complete.
SELECT user_id::text FROM users WHERE removed_at < $1 ORDER BY removed_at LIMIT 10;

-- name: purge_messages
-- Deletes a part of a retired account's messages and their receipts. Rooms whose counts change are locked first.
WITH part AS MATERIALIZED (
    SELECT m.message_id, m.room_id FROM messages m WHERE m.user_id = $1 LIMIT $2
), locked AS MATERIALIZED (
    SELECT r.room_id FROM rooms r WHERE r.room_id IN (SELECT room_id FROM part) ORDER BY r.room_id FOR NO KEY UPDATE
), gone AS (
    DELETE FROM messages m USING part p
    WHERE m.message_id = p.message_id AND (SELECT count(*) FROM locked) > 0 RETURNING m.message_id
)
SELECT count(*) FROM gone;

-- name: purge_reads
WITH part AS MATERIALIZED (
    SELECT d.read_id, m.room_id FROM message_reads d JOIN messages m ON m.message_id = d.message_id
    WHERE d.user_id = $1 LIMIT $2
), locked AS MATERIALIZED (
    SELECT r.room_id FROM rooms r WHERE r.room_id IN (SELECT room_id FROM part) ORDER BY r.room_id FOR NO KEY UPDATE
), gone AS (
    DELETE FROM message_reads d USING part p
    WHERE d.read_id = p.read_id AND (SELECT count(*) FROM locked) > 0 RETURNING d.read_id
)
SELECT count(*) FROM gone;

-- name: purge_deliveries
WITH gone AS (
    DELETE FROM message_deliveries WHERE delivery_id IN (
        SELECT delivery_id FROM message_deliveries WHERE user_id = $1 LIMIT $2
    ) RETURNING delivery_id
)
SELECT count(*) FROM gone;

-- name: lock_rooms_of_user
-- Locks the rooms whose counts change with the rest of a retired account, in the same order as every statement.
SELECT r.room_id::text FROM rooms r
WHERE r.room_id IN (
    SELECT m.room_id FROM messages m WHERE m.user_id = $1
    UNION
    SELECT m.room_id FROM message_reads d JOIN messages m ON m.message_id = d.message_id WHERE d.user_id = $1
)
ORDER BY r.room_id FOR NO KEY UPDATE;

-- name: delete_user
-- The cascade deletes memberships, and what was written while the account was retired.
DELETE FROM users WHERE user_id = $1 AND removed_at IS NOT NULL RETURNING user_id::text;
