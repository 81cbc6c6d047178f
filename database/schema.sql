-- The schema of chatsys: with fold_case.sql, which comes first, the sum of the migrations in database/migrations. A test
-- keeps the two equal.
-- PostgreSQL 14 to 18. Seven tables of chat, one of servers and one of their key, one of failed logins, two of
-- versions, three views.

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
    updated_at timestamptz NOT NULL DEFAULT now(),
    removed_at timestamptz -- when its deletion began: it is hidden, and its data is deleted in parts
);
CREATE INDEX users_removed_at_idx ON users (removed_at) WHERE removed_at IS NOT NULL;
CREATE INDEX users_created_at_idx ON users (created_at DESC, user_id DESC);
CREATE INDEX users_username_trgm_idx ON users USING gin (fold_case(username) gin_trgm_ops);
CREATE INDEX users_display_name_trgm_idx ON users USING gin (fold_case(display_name) gin_trgm_ops);
CREATE INDEX users_username_order_idx ON users (username COLLATE "C"); -- code-point order, for texts that match many
CREATE TRIGGER users_touch BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE TABLE rooms (
    room_id uuid CONSTRAINT rooms_pkey PRIMARY KEY DEFAULT gen_random_uuid(),
    room_name varchar(100) NOT NULL CONSTRAINT rooms_room_name_key UNIQUE,
    description text,
    created_by uuid CONSTRAINT rooms_created_by_fkey REFERENCES users ON DELETE SET NULL,
    is_private boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    last_seq bigint NOT NULL DEFAULT 0, -- the newest sequence number given out in this room
    removed_count bigint NOT NULL DEFAULT 0, -- messages that were deleted or are marked as deleted
    read_count bigint NOT NULL DEFAULT 0 -- messages that somebody has read
) WITH (fillfactor = 50); -- last_seq changes with each flush, in place
CREATE INDEX rooms_room_name_order_idx ON rooms (room_name COLLATE "C"); -- code-point order, for pages of the list

CREATE TABLE messages (
    message_id uuid CONSTRAINT messages_pkey PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid CONSTRAINT messages_user_id_fkey REFERENCES users ON DELETE CASCADE,
    room_id uuid NOT NULL CONSTRAINT messages_room_id_fkey REFERENCES rooms ON DELETE CASCADE,
    message_text text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    edited_at timestamptz,
    is_deleted boolean NOT NULL DEFAULT false, -- hidden from everybody
    seq bigint NOT NULL,
    client_message_id varchar(64),
    guest_id varchar(64),
    guest_name varchar(50),
    is_read boolean NOT NULL DEFAULT false, -- somebody has read it
    CONSTRAINT messages_room_id_seq_key UNIQUE (room_id, seq),
    CONSTRAINT messages_sender_check CHECK (num_nonnulls(user_id, guest_id) = 1)
) WITH (fillfactor = 95);
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
    is_read boolean NOT NULL DEFAULT false, -- also in message_reads; this saves a second look-up
    CONSTRAINT message_deliveries_message_id_user_id_key UNIQUE (message_id, user_id),
    CONSTRAINT message_deliveries_reader_check CHECK (num_nonnulls(user_id, guest_id) = 1)
) WITH (fillfactor = 90); -- is_read changes soon after, in place
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
    read_to bigint NOT NULL DEFAULT 0, -- the member has read what others wrote up to here
    CONSTRAINT room_members_room_id_user_id_key UNIQUE (room_id, user_id)
);
CREATE INDEX room_members_user_id_idx ON room_members (user_id);

CREATE TABLE chat_servers ( -- server processes that are alive; their sessions end with them
    server_id uuid CONSTRAINT chat_servers_pkey PRIMARY KEY,
    started_at timestamptz NOT NULL,
    lease_until timestamptz NOT NULL,
    process text -- boot id, PID namespace, pid and start of the process, if they are known
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
    place bigint GENERATED ALWAYS AS IDENTITY, -- the order of joining
    CONSTRAINT active_sessions_who_check CHECK (num_nonnulls(user_id, guest_id) = 1)
);
CREATE INDEX active_sessions_room_id_server_id_idx ON active_sessions (room_id, server_id);
CREATE INDEX active_sessions_user_id_idx ON active_sessions (user_id);
CREATE INDEX active_sessions_server_id_idx ON active_sessions (server_id);
CREATE INDEX active_sessions_guest_id_idx ON active_sessions (guest_id) WHERE guest_id IS NOT NULL;

CREATE TRIGGER rooms_touch BEFORE UPDATE OF room_name, description, is_private ON rooms
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

-- rooms.removed_count and rooms.read_count give a room's counts without reading its messages: it has last_seq -
-- removed_count messages, of which read_count have a reader. SQL scripts that write messages or reads should first lock
-- their rooms (SELECT ... FROM rooms ... ORDER BY room_id FOR NO KEY UPDATE), as the server does, to avoid deadlocks.
CREATE FUNCTION count_removed_messages() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE rooms r SET removed_count = r.removed_count + gone.messages, read_count = r.read_count - gone.reads
    FROM (SELECT room_id, count(*) AS messages, count(*) FILTER (WHERE is_read) AS reads
          FROM removed WHERE NOT is_deleted GROUP BY room_id) gone
    WHERE r.room_id = gone.room_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER messages_removed AFTER DELETE ON messages REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION count_removed_messages();

-- Programs of the original backend mark messages as deleted. Such a message is hidden and counts as removed.
CREATE FUNCTION count_hidden_message() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    change int = CASE WHEN NEW.is_deleted THEN 1 ELSE -1 END;
BEGIN
    UPDATE rooms r
    SET removed_count = r.removed_count + change,
        read_count = r.read_count - CASE WHEN NEW.is_read THEN change ELSE 0 END
    WHERE r.room_id = NEW.room_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER messages_hidden AFTER UPDATE OF is_deleted ON messages
    FOR EACH ROW WHEN (OLD.is_deleted <> NEW.is_deleted) EXECUTE FUNCTION count_hidden_message();

-- A read sets message_deliveries.is_read, and adds the delivery if an SQL script left it out.
CREATE FUNCTION count_first_reads() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO message_deliveries (message_id, user_id, guest_id, delivered_at, is_read)
    SELECT a.message_id, a.user_id, a.guest_id, a.read_at, true FROM added a
    ORDER BY a.message_id, a.user_id, a.guest_id
    ON CONFLICT DO NOTHING;
    UPDATE message_deliveries d SET is_read = true FROM added a
    WHERE d.message_id = a.message_id AND d.user_id = a.user_id AND NOT d.is_read;
    UPDATE message_deliveries d SET is_read = true FROM added a
    WHERE d.message_id = a.message_id AND d.guest_id = a.guest_id AND NOT d.is_read;
    WITH first AS (
        UPDATE messages m SET is_read = true
        FROM (SELECT DISTINCT message_id FROM added) a
        WHERE m.message_id = a.message_id AND NOT m.is_read
        RETURNING m.room_id, m.is_deleted
    )
    UPDATE rooms r SET read_count = r.read_count + counted.reads
    FROM (SELECT room_id, count(*) AS reads FROM first WHERE NOT is_deleted GROUP BY room_id) counted
    WHERE r.room_id = counted.room_id;
    RETURN NULL;
END
$$;
-- Imports and clean-ups update deliveries, marks and counts themselves, and set chatsys.bulk in their transaction.
CREATE TRIGGER message_reads_added AFTER INSERT ON message_reads REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT WHEN (current_setting('chatsys.bulk', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION count_first_reads();

CREATE FUNCTION count_last_reads_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM removed JOIN messages USING (message_id)) THEN
        RETURN NULL; -- all of it goes with deleted messages
    END IF;
    UPDATE message_deliveries d SET is_read = false FROM removed gone JOIN users u ON u.user_id = gone.user_id
    WHERE d.message_id = gone.message_id AND d.user_id = gone.user_id AND d.is_read;
    UPDATE message_deliveries d SET is_read = false FROM removed gone
    WHERE d.message_id = gone.message_id AND d.guest_id = gone.guest_id AND d.is_read;
    WITH unread AS (
        UPDATE messages m SET is_read = false
        FROM (SELECT DISTINCT message_id FROM removed) gone
        WHERE m.message_id = gone.message_id AND m.is_read
          AND NOT EXISTS (SELECT FROM message_reads r WHERE r.message_id = m.message_id)
        RETURNING m.room_id, m.is_deleted
    )
    UPDATE rooms r SET read_count = r.read_count - counted.reads
    FROM (SELECT room_id, count(*) AS reads FROM unread WHERE NOT is_deleted GROUP BY room_id) counted
    WHERE r.room_id = counted.room_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER message_reads_removed AFTER DELETE ON message_reads REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT WHEN (current_setting('chatsys.bulk', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION count_last_reads_removed();

-- Removing a delivery also removes the read: a message that was not delivered was not read.
CREATE FUNCTION remove_undelivered_reads() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM removed WHERE is_read) THEN
        DELETE FROM message_reads r USING removed gone
        WHERE r.message_id = gone.message_id AND r.user_id = gone.user_id AND gone.is_read;
        DELETE FROM message_reads r USING removed gone
        WHERE r.message_id = gone.message_id AND r.guest_id = gone.guest_id AND gone.is_read;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER message_deliveries_removed AFTER DELETE ON message_deliveries REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT WHEN (current_setting('chatsys.bulk', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION remove_undelivered_reads();

-- Ends sessions, each at its own time, and sets users offline who have no session left. Returns the sessions in order
-- of joining. If two servers end the last two sessions of a user at once, they must not both see the other's as open.
-- So the first statement waits for the other server, and the second sees what it did.
CREATE FUNCTION end_sessions(ids uuid[], times timestamptz[]) RETURNS TABLE (
    session_id uuid, socket_id varchar, room_name varchar, connected_at timestamptz, user_id uuid, guest_id varchar,
    guest_name varchar, username varchar, display_name varchar, avatar text, online boolean, last_seen timestamptz,
    last boolean
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM FROM users u
    WHERE u.user_id IN (SELECT s.user_id FROM active_sessions s WHERE s.session_id = ANY (ids))
    ORDER BY u.user_id FOR NO KEY UPDATE;
    PERFORM pg_advisory_xact_lock(guest.key)
    FROM (SELECT DISTINCT hashtextextended(s.guest_id, 0) AS key FROM active_sessions s
          WHERE s.session_id = ANY (ids) AND s.guest_id IS NOT NULL ORDER BY key) guest;
    RETURN QUERY
    WITH ended AS (
        DELETE FROM active_sessions s USING unnest(ids, times) AS g (session_id, at)
        WHERE s.session_id = g.session_id RETURNING s.*, g.at
    ), judged AS (
        SELECT e.*, NOT EXISTS (
                   SELECT FROM active_sessions s
                   WHERE s.user_id = e.user_id AND s.session_id <> ALL (ids)
               ) AND NOT EXISTS (
                   SELECT FROM active_sessions s
                   WHERE s.guest_id = e.guest_id AND s.session_id <> ALL (ids)
               ) AS last
        FROM ended e
    ), away AS (
        UPDATE users u SET status = 'offline', last_seen = gone.at
        FROM (SELECT j.user_id, max(j.at) AS at FROM judged j WHERE j.last GROUP BY j.user_id) gone
        WHERE u.user_id = gone.user_id
    ), left_room AS (
        UPDATE room_members m SET is_active = false, left_at = gone.at
        FROM (SELECT e.room_id, e.user_id, max(e.at) AS at FROM ended e GROUP BY e.room_id, e.user_id) gone
        WHERE m.room_id = gone.room_id AND m.user_id = gone.user_id AND NOT EXISTS (
            SELECT FROM active_sessions s
            WHERE s.user_id = gone.user_id AND s.room_id = gone.room_id AND s.session_id <> ALL (ids)
        )
    )
    SELECT j.session_id, j.socket_id, r.room_name, j.connected_at, j.user_id, j.guest_id, j.guest_name,
           u.username, u.display_name, u.avatar,
           CASE WHEN u.user_id IS NULL THEN true ELSE u.status = 'online' AND NOT j.last END,
           CASE WHEN u.user_id IS NULL THEN NULL WHEN j.last THEN j.at ELSE u.last_seen END,
           j.last
    FROM judged j
    JOIN rooms r ON r.room_id = j.room_id
    LEFT JOIN users u ON u.user_id = j.user_id
    ORDER BY j.place;
END
$$;

-- The version of all profiles. Each transaction that changes a profile, of a server or of an SQL script, sets a new
-- one. So profiles that were read with a version are correct in every snapshot with this version, and servers cache
-- them instead of looking them up for each page.
CREATE TABLE profiles_version (
    version uuid NOT NULL DEFAULT gen_random_uuid(),
    only_row boolean CONSTRAINT profiles_version_pkey PRIMARY KEY DEFAULT true
        CONSTRAINT profiles_version_only_row_check CHECK (only_row)
);
INSERT INTO profiles_version DEFAULT VALUES;

CREATE FUNCTION change_profiles_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('chatsys.profiles_changed', true) IS DISTINCT FROM 'on' THEN -- once in a transaction
        UPDATE profiles_version SET version = gen_random_uuid();
        PERFORM set_config('chatsys.profiles_changed', 'on', true);
    END IF;
    RETURN NULL;
END
$$;
-- Deferred to the end of the transaction, so that a long transaction does not block other changes of profiles.
CREATE CONSTRAINT TRIGGER users_profile_changed AFTER UPDATE ON users DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW
    WHEN ((OLD.username, OLD.display_name, OLD.avatar) IS DISTINCT FROM (NEW.username, NEW.display_name, NEW.avatar))
    EXECUTE FUNCTION change_profiles_version();

-- The id of the current series of sequence numbers. An import changes it, because numbers may be assigned again.
CREATE TABLE chat_epoch (
    epoch uuid NOT NULL DEFAULT gen_random_uuid(),
    only_row boolean CONSTRAINT chat_epoch_pkey PRIMARY KEY DEFAULT true
        CONSTRAINT chat_epoch_only_row_check CHECK (only_row)
);
INSERT INTO chat_epoch DEFAULT VALUES;

-- The epoch that clients get. It also changes when a restore creates the table again (another oid, or another server),
-- and with the timeline, when a standby is promoted or a point in time is recovered.
CREATE FUNCTION current_epoch() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT left(encode(sha256(convert_to(
        concat_ws(' ', e.epoch, e.tableoid, s.system_identifier, left(pg_walfile_name(pg_current_wal_lsn()), 8)), 'UTF8'
    )), 'hex'), 32)
    FROM chat_epoch e, pg_control_system() s
$$;

-- The times of the newest failed logins, by the typed name in lower case and the client's address.
CREATE TABLE login_failures (
    typed varchar(255) NOT NULL,
    address varchar(255) NOT NULL,
    failed_at timestamptz[] NOT NULL,
    last_at timestamptz NOT NULL,
    CONSTRAINT login_failures_pkey PRIMARY KEY (typed, address)
);
CREATE INDEX login_failures_last_at_idx ON login_failures (last_at);

-- The key that authenticates messages between servers: without access to this table, nobody can forge one.
CREATE TABLE bus_key (
    key bytea NOT NULL DEFAULT uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()),
    only_row boolean CONSTRAINT bus_key_pkey PRIMARY KEY DEFAULT true
        CONSTRAINT bus_key_only_row_check CHECK (only_row)
);
REVOKE ALL ON bus_key FROM PUBLIC;
INSERT INTO bus_key DEFAULT VALUES;

-- The servers that have sessions in these rooms, as of the call and not as of the snapshot of the calling statement. So
-- a statement that calls it after locking the rooms misses no server. Returns nothing if there is only one server.
CREATE FUNCTION servers_of(room_ids uuid[]) RETURNS TABLE (room_id uuid, servers text[]) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    IF (SELECT count(*) FROM chat_servers) > 1 THEN
        RETURN QUERY
        SELECT r.room_id, array_agg(c.server_id::text)
        FROM unnest(room_ids) AS r (room_id) CROSS JOIN chat_servers c
        WHERE EXISTS (SELECT FROM active_sessions s WHERE s.room_id = r.room_id AND s.server_id = c.server_id)
        GROUP BY r.room_id;
    END IF;
END
$$;

-- Each count is a subquery of its own: a join over several children would multiply their rows.
CREATE VIEW active_users_view AS
SELECT u.user_id, u.username, u.display_name, u.avatar, u.status, u.last_seen,
       (SELECT count(*) FROM active_sessions s WHERE s.user_id = u.user_id) AS active_sessions
FROM users u
WHERE u.status = 'online';

CREATE VIEW room_stats_view AS
SELECT r.room_id, r.room_name,
       r.last_seq - r.removed_count AS total_messages,
       (SELECT count(*) FROM room_members rm WHERE rm.room_id = r.room_id AND rm.is_active) AS total_members,
       (SELECT count(DISTINCT coalesce(s.user_id::text, s.guest_id))
          FROM active_sessions s WHERE s.room_id = r.room_id) AS active_users,
       (SELECT m.created_at FROM messages m WHERE m.room_id = r.room_id AND NOT m.is_deleted
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

-- The entry that Alembic would have made, so that a database made from this file has the newest revision.
CREATE TABLE alembic_version (
    version_num varchar(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO alembic_version VALUES ('0006');
