-- name: create_user
-- A new account; the unique constraints refuse a name or an email that is taken.
INSERT INTO users (user_id, username, email, password, display_name, avatar, bio, status, last_seen, created_at, last_login)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);

-- name: user_by_id
SELECT user_id::text, username, email, password, display_name, avatar, bio, status, last_seen, created_at, last_login
FROM users WHERE user_id = $1;

-- name: user_by_name
SELECT user_id::text, username, email, password, display_name, avatar, bio, status, last_seen, created_at, last_login
FROM users WHERE username = $1;

-- name: user_by_email
-- Emails are stored in lower case.
SELECT user_id::text, username, email, password, display_name, avatar, bio, status, last_seen, created_at, last_login
FROM users WHERE email = $1;

-- name: list_users
-- The newest, along users_created_at_idx.
SELECT user_id::text, username, email, password, display_name, avatar, bio, status, last_seen, created_at, last_login
FROM users ORDER BY created_at DESC, user_id DESC LIMIT $1;

-- name: search_users
-- plan: custom
-- $1 is a LIKE pattern. How many names contain it decides between the trigram indexes and a walk along the names, so it
-- is planned each time with the pattern in view.
SELECT user_id::text, username, email, password, display_name, avatar, bio, status, last_seen, created_at, last_login
FROM users
WHERE fold_case(username) LIKE $1 OR fold_case(display_name) LIKE $1
ORDER BY username COLLATE "C" LIMIT $2;

-- name: update_user
-- NULL leaves a column as it is.
UPDATE users SET
    display_name = coalesce($2, display_name), avatar = coalesce($3, avatar), bio = coalesce($4, bio),
    password = coalesce($5, password)
WHERE user_id = $1
RETURNING user_id::text, username, email, password, display_name, avatar, bio, status, last_seen, created_at, last_login;

-- name: record_login
UPDATE users SET last_login = $2 WHERE user_id = $1
RETURNING user_id::text, username, email, password, display_name, avatar, bio, status, last_seen, created_at, last_login;

-- name: set_online
-- Many users at once, locked in order of their ids as every statement does.
WITH given AS (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::timestamptz[]) AS g (user_id, status, at)
), found AS MATERIALIZED (
    SELECT u.user_id FROM users u WHERE u.user_id IN (SELECT g.user_id FROM given g)
    ORDER BY u.user_id FOR NO KEY UPDATE
)
UPDATE users u SET status = g.status, last_seen = g.at
FROM given g JOIN found f ON f.user_id = g.user_id
WHERE u.user_id = g.user_id
RETURNING u.user_id::text, u.username, u.email, u.password, u.display_name, u.avatar, u.bio, u.status, u.last_seen,
    u.created_at, u.last_login;

-- name: lock_rooms_of_user
-- The rooms whose counts change with the user's deletion, and those that it ends sessions in, in the order in which every statement locks rooms.
SELECT r.room_id::text FROM rooms r
WHERE r.room_id IN (
    SELECT m.room_id FROM messages m WHERE m.user_id = $1
    UNION
    SELECT m.room_id FROM message_reads d JOIN messages m ON m.message_id = d.message_id WHERE d.user_id = $1
    UNION
    SELECT s.room_id FROM active_sessions s WHERE s.user_id = $1
)
ORDER BY r.room_id FOR NO KEY UPDATE;

-- name: sessions_of_user
SELECT session_id::text FROM active_sessions WHERE user_id = $1;

-- name: delete_user
-- Messages, receipts and memberships go by cascade.
DELETE FROM users WHERE user_id = $1 RETURNING user_id::text;

-- name: lock_user
-- After the rooms and before the sessions: nobody joins as this user from here on.
SELECT user_id::text FROM users WHERE user_id = $1 FOR UPDATE;
