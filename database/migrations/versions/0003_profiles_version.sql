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
