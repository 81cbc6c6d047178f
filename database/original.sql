-- The database of the original Node.js backend, as its operators have it: seven tables of chat, ten further ones,
-- its views, functions and triggers, and the dirt that years leave behind.
-- Tests and the laboratory adopt it. ":messages" stands for how many messages.

SET client_min_messages = warning;

-- The original's ids come from uuid-ossp. Where a server has no such extension, a function of the same name stands in.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'uuid-ossp') THEN
        CREATE EXTENSION IF NOT EXISTS "uuid-ossp";
    ELSE
        CREATE FUNCTION uuid_generate_v4() RETURNS uuid LANGUAGE sql AS 'SELECT gen_random_uuid()';
    END IF;
END
$$;

CREATE TABLE users (
    user_id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
    username varchar(50) UNIQUE NOT NULL,
    email varchar(255) UNIQUE NOT NULL,
    password varchar(255) NOT NULL,
    display_name varchar(100),
    avatar text,
    bio text,
    status varchar(20) DEFAULT 'offline',
    last_seen timestamptz,
    created_at timestamptz DEFAULT CURRENT_TIMESTAMP,
    last_login timestamptz,
    updated_at timestamptz DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX idx_users_username ON users (username);
CREATE INDEX idx_users_email ON users (email);
CREATE INDEX idx_users_status ON users (status);

CREATE TABLE rooms (
    room_id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
    room_name varchar(100) UNIQUE NOT NULL,
    description text,
    created_by uuid REFERENCES users (user_id) ON DELETE SET NULL,
    is_private boolean DEFAULT false,
    created_at timestamptz DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamptz DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX idx_rooms_name ON rooms (room_name);

CREATE TABLE messages (
    message_id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
    user_id uuid REFERENCES users (user_id) ON DELETE CASCADE,
    room_id uuid REFERENCES rooms (room_id) ON DELETE CASCADE,
    message_text text NOT NULL,
    created_at timestamptz DEFAULT CURRENT_TIMESTAMP,
    edited_at timestamptz,
    is_deleted boolean DEFAULT false
);
CREATE INDEX idx_messages_room ON messages (room_id, created_at DESC);
CREATE INDEX idx_messages_user ON messages (user_id);

CREATE TABLE message_reads (
    read_id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
    message_id uuid REFERENCES messages (message_id) ON DELETE CASCADE,
    user_id uuid REFERENCES users (user_id) ON DELETE CASCADE,
    read_at timestamptz DEFAULT CURRENT_TIMESTAMP,
    UNIQUE (message_id, user_id)
);
CREATE INDEX idx_message_reads_message ON message_reads (message_id);
CREATE INDEX idx_message_reads_user ON message_reads (user_id);

CREATE TABLE message_deliveries (
    delivery_id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
    message_id uuid REFERENCES messages (message_id) ON DELETE CASCADE,
    user_id uuid REFERENCES users (user_id) ON DELETE CASCADE,
    delivered_at timestamptz DEFAULT CURRENT_TIMESTAMP,
    UNIQUE (message_id, user_id)
);
CREATE INDEX idx_message_deliveries_message ON message_deliveries (message_id);

CREATE TABLE room_members (
    member_id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
    room_id uuid REFERENCES rooms (room_id) ON DELETE CASCADE,
    user_id uuid REFERENCES users (user_id) ON DELETE CASCADE,
    joined_at timestamptz DEFAULT CURRENT_TIMESTAMP,
    left_at timestamptz,
    is_active boolean DEFAULT true,
    UNIQUE (room_id, user_id)
);
CREATE INDEX idx_room_members_room ON room_members (room_id);
CREATE INDEX idx_room_members_user ON room_members (user_id);
CREATE INDEX idx_room_members_active ON room_members (is_active);

CREATE TABLE active_sessions (
    session_id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
    user_id uuid REFERENCES users (user_id) ON DELETE CASCADE,
    socket_id varchar(255) UNIQUE NOT NULL,
    room_id uuid REFERENCES rooms (room_id) ON DELETE CASCADE,
    connected_at timestamptz DEFAULT CURRENT_TIMESTAMP,
    last_activity timestamptz DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX idx_active_sessions_user ON active_sessions (user_id);
CREATE INDEX idx_active_sessions_room ON active_sessions (room_id);
CREATE INDEX idx_active_sessions_socket ON active_sessions (socket_id);

CREATE FUNCTION update_updated_at_column() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at = CURRENT_TIMESTAMP;
    RETURN NEW;
END
$$;
CREATE TRIGGER update_users_updated_at BEFORE UPDATE ON users
    FOR EACH ROW EXECUTE FUNCTION update_updated_at_column();
CREATE TRIGGER update_rooms_updated_at BEFORE UPDATE ON rooms
    FOR EACH ROW EXECUTE FUNCTION update_updated_at_column();

CREATE FUNCTION get_or_create_room(name varchar) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    found uuid;
BEGIN
    SELECT room_id INTO found FROM rooms WHERE room_name = name;
    IF found IS NULL THEN
        INSERT INTO rooms (room_name) VALUES (name) RETURNING room_id INTO found;
    END IF;
    RETURN found;
END
$$;

CREATE VIEW active_users_view AS
SELECT u.user_id, u.username, u.display_name, u.avatar, u.status, u.last_seen,
       count(DISTINCT s.session_id) AS active_sessions
FROM users u
LEFT JOIN active_sessions s ON u.user_id = s.user_id
GROUP BY u.user_id;

CREATE VIEW room_stats_view AS
SELECT r.room_id, r.room_name,
       count(DISTINCT m.message_id) AS total_messages,
       count(DISTINCT rm.user_id) AS total_members,
       count(DISTINCT s.user_id) AS active_users,
       max(m.created_at) AS last_message_at
FROM rooms r
LEFT JOIN messages m ON r.room_id = m.room_id AND m.is_deleted = false
LEFT JOIN room_members rm ON r.room_id = rm.room_id AND rm.is_active = true
LEFT JOIN active_sessions s ON r.room_id = s.room_id
GROUP BY r.room_id, r.room_name;

CREATE VIEW messages_with_user_view AS
SELECT m.message_id, m.message_text, m.created_at, m.edited_at, m.is_deleted, m.room_id,
       u.user_id, u.username, u.display_name, u.avatar,
       (SELECT count(*) FROM message_reads WHERE message_id = m.message_id) AS read_count,
       (SELECT count(*) FROM message_deliveries WHERE message_id = m.message_id) AS delivery_count
FROM messages m
JOIN users u ON m.user_id = u.user_id;

COMMENT ON TABLE users IS 'Accounts';
COMMENT ON TABLE messages IS 'All messages of all rooms';

-- The further tables: nothing reads or writes them but the operator's own programs.
CREATE TABLE message_reactions (
    reaction_id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
    message_id uuid REFERENCES messages (message_id) ON DELETE CASCADE,
    user_id uuid REFERENCES users (user_id) ON DELETE CASCADE,
    emoji varchar(10) NOT NULL,
    created_at timestamptz DEFAULT CURRENT_TIMESTAMP,
    UNIQUE (message_id, user_id, emoji)
);
CREATE INDEX idx_message_reactions_message ON message_reactions (message_id);

CREATE TABLE direct_messages (
    dm_id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
    sender_id uuid REFERENCES users (user_id) ON DELETE CASCADE,
    receiver_id uuid REFERENCES users (user_id) ON DELETE CASCADE,
    message_text text NOT NULL,
    is_read boolean DEFAULT false,
    read_at timestamptz,
    created_at timestamptz DEFAULT CURRENT_TIMESTAMP,
    edited_at timestamptz,
    is_deleted boolean DEFAULT false
);

CREATE TABLE user_blocks (
    block_id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
    blocker_id uuid REFERENCES users (user_id) ON DELETE CASCADE,
    blocked_id uuid REFERENCES users (user_id) ON DELETE CASCADE,
    blocked_at timestamptz DEFAULT CURRENT_TIMESTAMP,
    reason text,
    UNIQUE (blocker_id, blocked_id),
    CHECK (blocker_id <> blocked_id)
);

CREATE TABLE message_attachments (
    attachment_id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
    message_id uuid REFERENCES messages (message_id) ON DELETE CASCADE,
    file_name varchar(255) NOT NULL,
    file_url text NOT NULL,
    file_type varchar(100),
    file_size bigint,
    uploaded_at timestamptz DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX idx_attachments_message ON message_attachments (message_id);

CREATE TABLE dm_attachments (
    attachment_id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
    dm_id uuid REFERENCES direct_messages (dm_id) ON DELETE CASCADE,
    file_name varchar(255) NOT NULL,
    file_url text NOT NULL,
    file_type varchar(100),
    file_size bigint,
    uploaded_at timestamptz DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE notifications (
    notification_id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
    user_id uuid REFERENCES users (user_id) ON DELETE CASCADE,
    type varchar(50) NOT NULL,
    title varchar(255) NOT NULL,
    message text,
    data jsonb,
    is_read boolean DEFAULT false,
    read_at timestamptz,
    created_at timestamptz DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE message_mentions (
    mention_id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
    message_id uuid REFERENCES messages (message_id) ON DELETE CASCADE,
    mentioned_user_id uuid REFERENCES users (user_id) ON DELETE CASCADE,
    created_at timestamptz DEFAULT CURRENT_TIMESTAMP,
    UNIQUE (message_id, mentioned_user_id)
);

CREATE TABLE user_contacts (
    contact_id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
    user_id uuid REFERENCES users (user_id) ON DELETE CASCADE,
    contact_user_id uuid REFERENCES users (user_id) ON DELETE CASCADE,
    nickname varchar(100),
    is_favorite boolean DEFAULT false,
    added_at timestamptz DEFAULT CURRENT_TIMESTAMP,
    UNIQUE (user_id, contact_user_id),
    CHECK (user_id <> contact_user_id)
);

CREATE TABLE message_edit_history (
    history_id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
    message_id uuid REFERENCES messages (message_id) ON DELETE CASCADE,
    old_text text NOT NULL,
    edited_at timestamptz DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX idx_edit_history_message ON message_edit_history (message_id, edited_at DESC);

CREATE TABLE user_preferences (
    preference_id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
    user_id uuid UNIQUE REFERENCES users (user_id) ON DELETE CASCADE,
    email_notifications boolean DEFAULT true,
    language varchar(10) DEFAULT 'en',
    theme varchar(20) DEFAULT 'light',
    updated_at timestamptz DEFAULT CURRENT_TIMESTAMP
);

-- A view of the operator's over the tables of chat: it leans on their primary keys.
CREATE VIEW messages_with_reactions_view AS
SELECT m.message_id, m.message_text, u.username, r.room_name,
       coalesce(json_agg(mr.emoji) FILTER (WHERE mr.reaction_id IS NOT NULL), '[]'::json) AS reactions
FROM messages m
JOIN users u ON m.user_id = u.user_id
JOIN rooms r ON m.room_id = r.room_id
LEFT JOIN message_reactions mr ON m.message_id = mr.message_id
WHERE m.is_deleted = false
GROUP BY m.message_id, u.user_id, r.room_name;
-- And one over a view of the original's that chatsys defines anew.
CREATE VIEW operators_view AS SELECT room_name, total_messages FROM room_stats_view;

-- Accounts. The passwords are "secret-a" (a $2a$ hash) and "secret-b" (a $2b$ hash); the cost is low to keep tests quick.
INSERT INTO users (username, email, password, display_name, avatar, bio, status, last_seen, created_at, last_login)
SELECT 'user_' || n, 'user' || n || '@example.org',
       CASE WHEN n % 2 = 0 THEN '$2a$04$C13.YyObpUpLbMsA9gNItOTAtRaepa/v29nNlT71w/leqIuuonqDW' ELSE '$2b$04$vbgNuqB3iJ.6VCPUu4/J7.aX.1zYvmfNtWOn35F18FM9OiAzC8H2y' END,
       CASE WHEN n % 7 = 0 THEN NULL ELSE 'User number ' || n END,
       CASE WHEN n % 5 = 0 THEN NULL ELSE 'https://example.org/' || n || '.png' END,
       CASE WHEN n % 3 = 0 THEN NULL ELSE 'bio of ' || n END,
       CASE WHEN n % 11 = 0 THEN 'online' WHEN n % 13 = 0 THEN 'away' WHEN n % 17 = 0 THEN NULL ELSE 'offline' END,
       CASE WHEN n % 4 = 0 THEN NULL ELSE timestamptz '2025-10-01 00:00:00+00' + n * interval '1 minute' END,
       timestamptz '2025-01-01 00:00:00+00' + n * interval '1 hour 0.123456 s',
       CASE WHEN n % 2 = 0 THEN NULL ELSE timestamptz '2025-09-01 00:00:00+00' + n * interval '1 minute' END
FROM generate_series(1, 200) n;
-- Inserted by hand: letter case in emails, two of them the same but for it, a name that an avatar URL must encode.
INSERT INTO users (username, email, password, created_at) VALUES
    ('Shouting', 'SHOUTING@Example.ORG', '$2b$04$vbgNuqB3iJ.6VCPUu4/J7.aX.1zYvmfNtWOn35F18FM9OiAzC8H2y', '2025-02-01Z'),
    ('twin_old', 'Twin@example.org', '$2b$04$vbgNuqB3iJ.6VCPUu4/J7.aX.1zYvmfNtWOn35F18FM9OiAzC8H2y', '2025-02-02Z'),
    ('twin_new', 'twin@EXAMPLE.org', '$2b$04$vbgNuqB3iJ.6VCPUu4/J7.aX.1zYvmfNtWOn35F18FM9OiAzC8H2y', '2025-02-03Z'),
    ('Zoë & Ünal', 'zoe@example.org', '$2b$04$vbgNuqB3iJ.6VCPUu4/J7.aX.1zYvmfNtWOn35F18FM9OiAzC8H2y', NULL);

INSERT INTO rooms (room_name, description) VALUES
    ('general', 'General chat room'), ('random', 'Random chat room'), ('tech', 'Tech chat room');
INSERT INTO rooms (room_name, created_by, is_private, created_at, updated_at)
SELECT 'room ' || n, (SELECT user_id FROM users WHERE username = 'user_' || n), NULL, NULL, NULL
FROM generate_series(1, 7) n;

-- Messages: ten rooms, times that tie in threes, inserted in order of time but for one in a hundred.
WITH r AS (SELECT room_id, row_number() OVER (ORDER BY room_name) - 1 AS n FROM rooms),
     u AS (SELECT user_id, row_number() OVER (ORDER BY username) - 1 AS n FROM users)
INSERT INTO messages (user_id, room_id, message_text, created_at, edited_at, is_deleted)
SELECT u.user_id, r.room_id, 'message ' || i || repeat(' é中🙂', (i % 5)::int),
       timestamptz '2025-10-15 00:00:00+00' + (i / 30) * interval '1.234567 s'
           - CASE WHEN i % 100 = 99 THEN interval '1 hour' ELSE interval '0' END,
       CASE WHEN i % 50 = 0 THEN timestamptz '2026-01-01Z' END,
       CASE WHEN i % 40 = 0 THEN true WHEN i % 41 = 0 THEN NULL ELSE false END
FROM generate_series(1, :messages) i
JOIN r ON r.n = i % 10
JOIN u ON u.n = (i * 7919) % 204
ORDER BY i;
-- What no client ever saw: without a time, a sender or a room.
INSERT INTO messages (user_id, room_id, message_text, created_at)
SELECT (SELECT user_id FROM users WHERE username = 'user_1'), (SELECT room_id FROM rooms WHERE room_name = 'tech'),
       'without a time', NULL::timestamptz
UNION ALL SELECT NULL, (SELECT room_id FROM rooms WHERE room_name = 'tech'), 'without a sender', '2025-10-16Z'
UNION ALL SELECT (SELECT user_id FROM users WHERE username = 'user_2'), NULL, 'without a room', '2025-10-16Z';

-- Receipts of every fourth message; half of the deliveries without a time.
INSERT INTO message_deliveries (message_id, user_id, delivered_at)
SELECT m.message_id, u.user_id, CASE WHEN m.n % 8 = 0 THEN NULL ELSE m.created_at + interval '1 s' END
FROM (SELECT message_id, user_id, created_at, row_number() OVER (ORDER BY ctid) AS n FROM messages) m
JOIN users u ON u.username IN ('user_1', 'user_2', 'user_3', 'user_4') AND u.user_id <> m.user_id
WHERE m.n % 4 = 0;
INSERT INTO message_reads (message_id, user_id, read_at)
SELECT m.message_id, u.user_id, m.created_at + interval '2 s'
FROM (SELECT message_id, user_id, created_at, row_number() OVER (ORDER BY ctid) AS n FROM messages) m
JOIN users u ON u.username IN ('user_1', 'user_4') AND u.user_id <> m.user_id
WHERE m.n % 4 = 0;
INSERT INTO message_reads (message_id, user_id) SELECT message_id, NULL FROM messages LIMIT 2;

INSERT INTO room_members (room_id, user_id, joined_at, is_active)
SELECT r.room_id, u.user_id, NULL, CASE WHEN u.username = 'user_5' THEN NULL ELSE true END
FROM rooms r, users u WHERE u.username ~ '^user_[1-9]$';
INSERT INTO room_members (room_id, user_id) VALUES (NULL, NULL);

-- Sessions that a hard kill left behind; one of them in no room.
INSERT INTO active_sessions (user_id, socket_id, room_id)
SELECT u.user_id, 'socket-' || u.username || n, CASE WHEN n = 3 THEN NULL ELSE r.room_id END
FROM users u, generate_series(1, 3) n, rooms r WHERE u.status = 'online' AND r.room_name = 'general';

INSERT INTO message_reactions (message_id, user_id, emoji)
SELECT message_id, user_id, '👍' FROM messages WHERE user_id IS NOT NULL LIMIT 500;
INSERT INTO direct_messages (sender_id, receiver_id, message_text)
SELECT a.user_id, b.user_id, 'between you and me' FROM users a, users b
WHERE a.username = 'user_1' AND b.username ~ '^user_2';
INSERT INTO user_blocks (blocker_id, blocked_id)
SELECT a.user_id, b.user_id FROM users a, users b WHERE a.username = 'user_1' AND b.username = 'user_2';
INSERT INTO message_attachments (message_id, file_name, file_url, file_size)
SELECT message_id, 'cat.png', 'https://example.org/cat.png', 12345 FROM messages LIMIT 100;
INSERT INTO dm_attachments (dm_id, file_name, file_url) SELECT dm_id, 'note.txt', 'https://example.org/n' FROM direct_messages;
INSERT INTO notifications (user_id, type, title, data) SELECT user_id, 'mention', 'You were named', '{"n": 1}' FROM users;
INSERT INTO message_mentions (message_id, mentioned_user_id)
SELECT message_id, user_id FROM messages WHERE user_id IS NOT NULL LIMIT 200;
INSERT INTO user_contacts (user_id, contact_user_id, nickname)
SELECT a.user_id, b.user_id, 'pal' FROM users a, users b WHERE a.username = 'user_1' AND b.username = 'user_3';
INSERT INTO message_edit_history (message_id, old_text) SELECT message_id, 'as it was' FROM messages WHERE edited_at IS NOT NULL;
INSERT INTO user_preferences (user_id, theme) SELECT user_id, 'dark' FROM users;
