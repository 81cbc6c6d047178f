-- The tables, views and default rooms. PostgreSQL 14 to 18.

CREATE EXTENSION IF NOT EXISTS pg_trgm;

CREATE FUNCTION touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at = now();
    RETURN NEW;
END
$$;

CREATE TABLE users (
    user_id uuid CONSTRAINT users_pkey PRIMARY KEY DEFAULT gen_random_uuid(),
    username varchar(50) NOT NULL CONSTRAINT users_username_key UNIQUE,
    email varchar(255) NOT NULL CONSTRAINT users_email_key UNIQUE,
    password varchar(255) NOT NULL,
    display_name varchar(100) NOT NULL,
    avatar text NOT NULL,
    bio text NOT NULL DEFAULT '',
    status varchar(20) NOT NULL DEFAULT 'offline' CONSTRAINT users_status_check CHECK (status IN ('online', 'offline')),
    last_seen timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_login timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX users_created_at_idx ON users (created_at DESC, user_id DESC);
CREATE INDEX users_username_trgm_idx ON users USING gin (username gin_trgm_ops);
CREATE INDEX users_display_name_trgm_idx ON users USING gin (display_name gin_trgm_ops);
CREATE TRIGGER users_touch BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE TABLE rooms (
    room_id uuid CONSTRAINT rooms_pkey PRIMARY KEY DEFAULT gen_random_uuid(),
    room_name varchar(100) NOT NULL CONSTRAINT rooms_room_name_key UNIQUE,
    description text,
    created_by uuid CONSTRAINT rooms_created_by_fkey REFERENCES users ON DELETE SET NULL,
    is_private boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    last_seq bigint NOT NULL DEFAULT 0 -- the newest sequence number given out in this room
);

CREATE TABLE messages (
    message_id uuid CONSTRAINT messages_pkey PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid CONSTRAINT messages_user_id_fkey REFERENCES users ON DELETE CASCADE,
    room_id uuid NOT NULL CONSTRAINT messages_room_id_fkey REFERENCES rooms ON DELETE CASCADE,
    message_text text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    edited_at timestamptz,
    is_deleted boolean NOT NULL DEFAULT false,
    seq bigint NOT NULL,
    client_message_id varchar(64),
    guest_id varchar(64),
    guest_name varchar(50),
    CONSTRAINT messages_room_id_seq_key UNIQUE (room_id, seq),
    CONSTRAINT messages_sender_check CHECK (num_nonnulls(user_id, guest_id) = 1)
);
CREATE INDEX messages_user_id_idx ON messages (user_id);
CREATE INDEX messages_created_at_idx ON messages (created_at);
CREATE UNIQUE INDEX messages_user_client_key ON messages (user_id, client_message_id)
    WHERE client_message_id IS NOT NULL AND user_id IS NOT NULL;
CREATE UNIQUE INDEX messages_guest_client_key ON messages (room_id, guest_id, client_message_id)
    WHERE client_message_id IS NOT NULL AND guest_id IS NOT NULL;

CREATE TABLE message_reads (
    read_id uuid CONSTRAINT message_reads_pkey PRIMARY KEY DEFAULT gen_random_uuid(),
    message_id uuid NOT NULL CONSTRAINT message_reads_message_id_fkey REFERENCES messages ON DELETE CASCADE,
    user_id uuid CONSTRAINT message_reads_user_id_fkey REFERENCES users ON DELETE CASCADE,
    read_at timestamptz NOT NULL DEFAULT now(),
    guest_id varchar(64),
    CONSTRAINT message_reads_message_id_user_id_key UNIQUE (message_id, user_id),
    CONSTRAINT message_reads_reader_check CHECK (num_nonnulls(user_id, guest_id) = 1)
);
CREATE UNIQUE INDEX message_reads_message_id_guest_id_key ON message_reads (message_id, guest_id)
    WHERE guest_id IS NOT NULL;
CREATE INDEX message_reads_user_id_idx ON message_reads (user_id);

CREATE TABLE message_deliveries (
    delivery_id uuid CONSTRAINT message_deliveries_pkey PRIMARY KEY DEFAULT gen_random_uuid(),
    message_id uuid NOT NULL CONSTRAINT message_deliveries_message_id_fkey REFERENCES messages ON DELETE CASCADE,
    user_id uuid CONSTRAINT message_deliveries_user_id_fkey REFERENCES users ON DELETE CASCADE,
    delivered_at timestamptz NOT NULL DEFAULT now(),
    guest_id varchar(64),
    CONSTRAINT message_deliveries_message_id_user_id_key UNIQUE (message_id, user_id),
    CONSTRAINT message_deliveries_reader_check CHECK (num_nonnulls(user_id, guest_id) = 1)
);
CREATE UNIQUE INDEX message_deliveries_message_id_guest_id_key ON message_deliveries (message_id, guest_id)
    WHERE guest_id IS NOT NULL;
CREATE INDEX message_deliveries_user_id_idx ON message_deliveries (user_id);

CREATE TABLE room_members (
    member_id uuid CONSTRAINT room_members_pkey PRIMARY KEY DEFAULT gen_random_uuid(),
    room_id uuid NOT NULL CONSTRAINT room_members_room_id_fkey REFERENCES rooms ON DELETE CASCADE,
    user_id uuid NOT NULL CONSTRAINT room_members_user_id_fkey REFERENCES users ON DELETE CASCADE,
    joined_at timestamptz NOT NULL DEFAULT now(),
    left_at timestamptz,
    is_active boolean NOT NULL DEFAULT true,
    CONSTRAINT room_members_room_id_user_id_key UNIQUE (room_id, user_id)
);
CREATE INDEX room_members_user_id_idx ON room_members (user_id);

CREATE TABLE chat_servers ( -- server processes that are alive; their sessions end with them
    server_id uuid CONSTRAINT chat_servers_pkey PRIMARY KEY,
    started_at timestamptz NOT NULL,
    lease_until timestamptz NOT NULL
);

CREATE TABLE active_sessions (
    session_id uuid CONSTRAINT active_sessions_pkey PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid CONSTRAINT active_sessions_user_id_fkey REFERENCES users ON DELETE CASCADE,
    socket_id varchar(255) NOT NULL CONSTRAINT active_sessions_socket_id_key UNIQUE,
    room_id uuid NOT NULL CONSTRAINT active_sessions_room_id_fkey REFERENCES rooms ON DELETE CASCADE,
    connected_at timestamptz NOT NULL DEFAULT now(),
    last_activity timestamptz NOT NULL DEFAULT now(),
    guest_id varchar(64),
    guest_name varchar(50),
    server_id uuid CONSTRAINT active_sessions_server_id_fkey REFERENCES chat_servers ON DELETE CASCADE,
    CONSTRAINT active_sessions_who_check CHECK (num_nonnulls(user_id, guest_id) = 1)
);
CREATE INDEX active_sessions_room_id_idx ON active_sessions (room_id);
CREATE INDEX active_sessions_user_id_idx ON active_sessions (user_id);
CREATE INDEX active_sessions_server_id_idx ON active_sessions (server_id);

CREATE TRIGGER rooms_touch BEFORE UPDATE OF room_name, description, is_private ON rooms
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

-- Each count is a subquery of its own: a join over several children would multiply their rows.
CREATE VIEW active_users_view AS
SELECT u.user_id, u.username, u.display_name, u.avatar, u.status, u.last_seen,
       (SELECT count(*) FROM active_sessions s WHERE s.user_id = u.user_id) AS active_sessions
FROM users u
WHERE u.status = 'online';

CREATE VIEW room_stats_view AS
SELECT r.room_id, r.room_name,
       (SELECT count(*) FROM messages m WHERE m.room_id = r.room_id) AS total_messages,
       (SELECT count(*) FROM room_members rm WHERE rm.room_id = r.room_id AND rm.is_active) AS total_members,
       (SELECT count(DISTINCT coalesce(s.user_id::text, s.guest_id))
          FROM active_sessions s WHERE s.room_id = r.room_id) AS active_users,
       (SELECT m.created_at FROM messages m WHERE m.room_id = r.room_id
         ORDER BY m.seq DESC LIMIT 1) AS last_message_at
FROM rooms r;

CREATE VIEW messages_with_user_view AS
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
    ('tech', 'Technology talk');
