-- The life of the room numbers. An import gives it another one: numbers may then be given out a second time.
CREATE TABLE chat_epoch (
    epoch uuid NOT NULL DEFAULT gen_random_uuid(),
    only_row boolean CONSTRAINT chat_epoch_pkey PRIMARY KEY DEFAULT true
        CONSTRAINT chat_epoch_only_row_check CHECK (only_row)
);
INSERT INTO chat_epoch DEFAULT VALUES;

-- What clients are told. It also changes when a restore has made the table anew (another oid, or another server) and with
-- the timeline: a standby was promoted, or a point in time was recovered.
CREATE FUNCTION current_epoch() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT left(encode(sha256(convert_to(
        concat_ws(' ', e.epoch, e.tableoid, s.system_identifier, left(pg_walfile_name(pg_current_wal_lsn()), 8)), 'UTF8'
    )), 'hex'), 32)
    FROM chat_epoch e, pg_control_system() s
$$;

-- Failed logins by what was typed (in lower case) and the client's address: the times of the newest ones.
CREATE TABLE login_failures (
    typed varchar(255) NOT NULL,
    address varchar(255) NOT NULL,
    failed_at timestamptz[] NOT NULL,
    last_at timestamptz NOT NULL,
    CONSTRAINT login_failures_pkey PRIMARY KEY (typed, address)
);
CREATE INDEX login_failures_last_at_idx ON login_failures (last_at);

-- An account whose deletion has begun: its name and email are free, nobody sees it, and what it left goes in pieces.
ALTER TABLE users ADD removed_at timestamptz;
CREATE INDEX users_removed_at_idx ON users (removed_at) WHERE removed_at IS NOT NULL;

CREATE INDEX rooms_room_name_order_idx ON rooms (room_name COLLATE "C"); -- code-point order, for pages of the list
