-- Bring the database of the original Node.js backend to the first revision of chatsys, in place.
--
-- If the first revision finds the original's tables, it runs this instead of creating tables. It is one transaction: if
-- it is killed half way, the original stays as it was, and the script can run again. Ids, texts, times and password
-- hashes stay. Missing values are filled in. Tables, views and functions that chatsys does not know are left alone.
-- A test compares the result with a fresh schema, column by column and index by index.

SET LOCAL statement_timeout = 0;
SET LOCAL lock_timeout = '10s'; -- a backend that is still writing causes an error, not an endless wait
LOCK TABLE users, rooms, messages, message_reads, message_deliveries, room_members, active_sessions
    IN ACCESS EXCLUSIVE MODE;

CREATE EXTENSION IF NOT EXISTS pg_trgm;

CREATE FUNCTION touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at = now();
    RETURN NEW;
END
$$;

-- Drop its triggers first, because adopting a row is not an update by its owner.
DROP TRIGGER IF EXISTS update_users_updated_at ON users;
DROP TRIGGER IF EXISTS update_rooms_updated_at ON rooms;

-- Indexes that a unique constraint already provides, or that no statement uses, only slow down the rewriting.
DROP INDEX IF EXISTS idx_users_username, idx_users_email, idx_users_status, idx_rooms_name, idx_messages_room,
    idx_message_reads_message, idx_message_deliveries_message, idx_room_members_room, idx_room_members_active,
    idx_active_sessions_socket;
ALTER INDEX IF EXISTS idx_messages_user RENAME TO messages_user_id_idx;
ALTER INDEX IF EXISTS idx_message_reads_user RENAME TO message_reads_user_id_idx;
ALTER INDEX IF EXISTS idx_room_members_user RENAME TO room_members_user_id_idx;
ALTER INDEX IF EXISTS idx_active_sessions_user RENAME TO active_sessions_user_id_idx;
ALTER INDEX IF EXISTS idx_active_sessions_room RENAME TO active_sessions_room_id_idx;

-- All sessions belong to a process that is gone. Rows without a user, message or room carry no information.
DELETE FROM active_sessions;
DELETE FROM message_reads WHERE message_id IS NULL OR user_id IS NULL;
DELETE FROM message_deliveries WHERE message_id IS NULL OR user_id IS NULL;
DELETE FROM room_members WHERE room_id IS NULL OR user_id IS NULL;

-- Users. Emails are compared in lower case. Of accounts whose emails differ only in case, one gets the lower-case form
-- (the one that has it, else the oldest). The others keep theirs and log in by name. COLLATE "C" is needed because a
-- Turkish database lowers I to another letter.
UPDATE users u SET email = folded.email
FROM (SELECT user_id, email, row_number() OVER (PARTITION BY email ORDER BY changed, created_at, user_id) AS place
      FROM (SELECT user_id, lower(email COLLATE "C") AS email, email <> lower(email COLLATE "C") AS changed, created_at
            FROM users) every) folded
WHERE folded.user_id = u.user_id AND folded.place = 1 AND u.email <> folded.email;

UPDATE users SET
    display_name = coalesce(display_name, username),
    avatar = coalesce(avatar, 'https://ui-avatars.com/api/?name=' || (
        SELECT string_agg(CASE WHEN letter ~ '[A-Za-z0-9_.~-]' THEN letter
                               ELSE regexp_replace(upper(encode(convert_to(letter, 'UTF8'), 'hex')), '(..)', '%\1', 'g')
                          END, '' ORDER BY place)
        FROM regexp_split_to_table(username, '') WITH ORDINALITY AS letters (letter, place)
    ) || '&background=667eea&color=fff'),
    bio = coalesce(bio, ''),
    status = 'offline',
    created_at = coalesce(created_at, last_login, last_seen, now()),
    updated_at = coalesce(updated_at, created_at, now())
WHERE status IS DISTINCT FROM 'offline'
   OR num_nulls(display_name, avatar, bio, created_at, updated_at) > 0;

ALTER TABLE users
    ALTER user_id SET DEFAULT gen_random_uuid(),
    ALTER display_name SET NOT NULL,
    ALTER avatar SET NOT NULL,
    ALTER bio SET NOT NULL, ALTER bio SET DEFAULT '',
    ALTER status SET NOT NULL,
    ALTER created_at SET NOT NULL, ALTER created_at SET DEFAULT now(),
    ALTER updated_at SET NOT NULL, ALTER updated_at SET DEFAULT now(),
    ADD CONSTRAINT users_status_check CHECK (status IN ('online', 'offline'));
CREATE INDEX users_created_at_idx ON users (created_at DESC, user_id DESC);
CREATE INDEX users_username_trgm_idx ON users USING gin (username gin_trgm_ops);
CREATE INDEX users_display_name_trgm_idx ON users USING gin (display_name gin_trgm_ops);
CREATE TRIGGER users_touch BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

-- Rooms. Messages without a room go into a room of their own.
INSERT INTO rooms (room_name, description)
SELECT 'recovered', 'Messages that belonged to no room'
WHERE EXISTS (SELECT FROM messages WHERE room_id IS NULL)
ON CONFLICT (room_name) DO NOTHING;
UPDATE messages SET room_id = (SELECT room_id FROM rooms WHERE room_name = 'recovered') WHERE room_id IS NULL;
UPDATE rooms SET
    is_private = coalesce(is_private, false),
    created_at = coalesce(created_at, updated_at, now()),
    updated_at = coalesce(updated_at, created_at, now())
WHERE num_nulls(is_private, created_at, updated_at) > 0;

-- Messages are numbered by room in order of time; ties are in the order in which they were stored.
ALTER TABLE messages
    ADD seq bigint,
    ADD client_message_id varchar(64),
    ADD guest_id varchar(64),
    ADD guest_name varchar(50);
UPDATE messages m SET
    seq = numbered.seq,
    created_at = numbered.created_at,
    is_deleted = coalesce(m.is_deleted, false),
    guest_id = CASE WHEN m.user_id IS NULL THEN 'unknown' END,
    guest_name = CASE WHEN m.user_id IS NULL THEN 'unknown' END
FROM (SELECT place, created_at, row_number() OVER (PARTITION BY room_id ORDER BY created_at, place) AS seq
      FROM (SELECT m.ctid AS place, m.room_id, coalesce(m.created_at, m.edited_at, r.created_at) AS created_at
            FROM messages m JOIN rooms r ON r.room_id = m.room_id) filled) numbered
WHERE m.ctid = numbered.place;

ALTER TABLE messages
    ALTER message_id SET DEFAULT gen_random_uuid(),
    ALTER room_id SET NOT NULL,
    ALTER created_at SET NOT NULL, ALTER created_at SET DEFAULT now(),
    ALTER is_deleted SET NOT NULL,
    ALTER seq SET NOT NULL,
    ADD CONSTRAINT messages_room_id_seq_key UNIQUE (room_id, seq),
    ADD CONSTRAINT messages_sender_check CHECK (num_nonnulls(user_id, guest_id) = 1);
CREATE INDEX IF NOT EXISTS messages_user_id_idx ON messages (user_id);
CREATE INDEX messages_created_at_idx ON messages (created_at);
CREATE UNIQUE INDEX messages_user_client_key ON messages (user_id, client_message_id)
    WHERE client_message_id IS NOT NULL AND user_id IS NOT NULL;
CREATE UNIQUE INDEX messages_guest_client_key ON messages (room_id, guest_id, client_message_id)
    WHERE client_message_id IS NOT NULL AND guest_id IS NOT NULL;

ALTER TABLE rooms
    ALTER room_id SET DEFAULT gen_random_uuid(),
    ALTER is_private SET NOT NULL,
    ALTER created_at SET NOT NULL, ALTER created_at SET DEFAULT now(),
    ALTER updated_at SET NOT NULL, ALTER updated_at SET DEFAULT now(),
    ADD last_seq bigint NOT NULL DEFAULT 0;
UPDATE rooms r SET last_seq = newest.seq
FROM (SELECT room_id, max(seq) AS seq FROM messages GROUP BY room_id) newest
WHERE newest.room_id = r.room_id;
CREATE TRIGGER rooms_touch BEFORE UPDATE OF room_name, description, is_private ON rooms
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

-- Receipts without a time get the time of their message.
UPDATE message_reads r SET read_at = m.created_at FROM messages m
WHERE r.read_at IS NULL AND m.message_id = r.message_id;
ALTER TABLE message_reads
    ALTER read_id SET DEFAULT gen_random_uuid(),
    ALTER message_id SET NOT NULL,
    ALTER read_at SET NOT NULL, ALTER read_at SET DEFAULT now(),
    ADD guest_id varchar(64),
    ADD CONSTRAINT message_reads_reader_check CHECK (num_nonnulls(user_id, guest_id) = 1);
CREATE UNIQUE INDEX message_reads_message_id_guest_id_key ON message_reads (message_id, guest_id)
    WHERE guest_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS message_reads_user_id_idx ON message_reads (user_id);

UPDATE message_deliveries d SET delivered_at = m.created_at FROM messages m
WHERE d.delivered_at IS NULL AND m.message_id = d.message_id;
ALTER TABLE message_deliveries
    ALTER delivery_id SET DEFAULT gen_random_uuid(),
    ALTER message_id SET NOT NULL,
    ALTER delivered_at SET NOT NULL, ALTER delivered_at SET DEFAULT now(),
    ADD guest_id varchar(64),
    ADD CONSTRAINT message_deliveries_reader_check CHECK (num_nonnulls(user_id, guest_id) = 1);
CREATE UNIQUE INDEX message_deliveries_message_id_guest_id_key ON message_deliveries (message_id, guest_id)
    WHERE guest_id IS NOT NULL;
CREATE INDEX message_deliveries_user_id_idx ON message_deliveries (user_id);

UPDATE room_members SET
    joined_at = coalesce(joined_at, now()),
    is_active = coalesce(is_active, false)
WHERE num_nulls(joined_at, is_active) > 0;
ALTER TABLE room_members
    ALTER member_id SET DEFAULT gen_random_uuid(),
    ALTER room_id SET NOT NULL,
    ALTER user_id SET NOT NULL,
    ALTER joined_at SET NOT NULL, ALTER joined_at SET DEFAULT now(),
    ALTER is_active SET NOT NULL;
CREATE INDEX IF NOT EXISTS room_members_user_id_idx ON room_members (user_id);

CREATE TABLE chat_servers ( -- server processes that are alive; their sessions end with them
    server_id uuid CONSTRAINT chat_servers_pkey PRIMARY KEY,
    started_at timestamptz NOT NULL,
    lease_until timestamptz NOT NULL
);

ALTER TABLE active_sessions
    ALTER session_id SET DEFAULT gen_random_uuid(),
    ALTER room_id SET NOT NULL,
    ALTER connected_at SET NOT NULL, ALTER connected_at SET DEFAULT now(),
    ALTER last_activity SET NOT NULL, ALTER last_activity SET DEFAULT now(),
    ADD guest_id varchar(64),
    ADD guest_name varchar(50),
    ADD server_id uuid CONSTRAINT active_sessions_server_id_fkey REFERENCES chat_servers ON DELETE CASCADE,
    ADD CONSTRAINT active_sessions_who_check CHECK (num_nonnulls(user_id, guest_id) = 1);
CREATE INDEX IF NOT EXISTS active_sessions_room_id_idx ON active_sessions (room_id);
CREATE INDEX IF NOT EXISTS active_sessions_user_id_idx ON active_sessions (user_id);
CREATE INDEX active_sessions_server_id_idx ON active_sessions (server_id);

-- The views are replaced, not dropped, because the operator's own views may depend on them.
CREATE OR REPLACE VIEW active_users_view AS
SELECT u.user_id, u.username, u.display_name, u.avatar, u.status, u.last_seen,
       (SELECT count(*) FROM active_sessions s WHERE s.user_id = u.user_id) AS active_sessions
FROM users u
WHERE u.status = 'online';

CREATE OR REPLACE VIEW room_stats_view AS
SELECT r.room_id, r.room_name,
       (SELECT count(*) FROM messages m WHERE m.room_id = r.room_id) AS total_messages,
       (SELECT count(*) FROM room_members rm WHERE rm.room_id = r.room_id AND rm.is_active) AS total_members,
       (SELECT count(DISTINCT coalesce(s.user_id::text, s.guest_id))
          FROM active_sessions s WHERE s.room_id = r.room_id) AS active_users,
       (SELECT m.created_at FROM messages m WHERE m.room_id = r.room_id
         ORDER BY m.seq DESC LIMIT 1) AS last_message_at
FROM rooms r;

CREATE OR REPLACE VIEW messages_with_user_view AS
SELECT m.message_id, m.message_text, m.created_at, m.edited_at, m.is_deleted, m.room_id,
       m.user_id, coalesce(u.username, m.guest_name) AS username,
       coalesce(u.display_name, m.guest_name)::varchar(100) AS display_name, u.avatar,
       (SELECT count(*) FROM message_reads r WHERE r.message_id = m.message_id) AS read_count,
       (SELECT count(*) FROM message_deliveries d WHERE d.message_id = m.message_id) AS delivery_count
FROM messages m
LEFT JOIN users u ON u.user_id = m.user_id;

INSERT INTO rooms (room_name, description) VALUES
    ('general', 'General discussion'),
    ('random', 'Off-topic conversations'),
    ('tech', 'Technology talk')
ON CONFLICT (room_name) DO NOTHING;

ANALYZE users, rooms, messages, message_reads, message_deliveries, room_members;
