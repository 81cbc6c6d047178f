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

-- Set when the deletion of an account begins: the account is hidden, and its data is deleted in parts.
ALTER TABLE users ADD removed_at timestamptz;
CREATE INDEX users_removed_at_idx ON users (removed_at) WHERE removed_at IS NOT NULL;

CREATE INDEX rooms_room_name_order_idx ON rooms (room_name COLLATE "C"); -- code-point order, for pages of the list
