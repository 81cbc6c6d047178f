-- The version of all profiles. Whoever changes a profile, a server or an SQL of your own, gives it a new one in the same
-- transaction. So profiles that were read together with a version are right in every snapshot that shows this version, and
-- servers keep them instead of looking them up for each page.
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
-- At the end of the transaction: a change that is not committed yet keeps nobody else from changing profiles.
CREATE CONSTRAINT TRIGGER users_profile_changed AFTER UPDATE ON users DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW
    WHEN ((OLD.username, OLD.display_name, OLD.avatar) IS DISTINCT FROM (NEW.username, NEW.display_name, NEW.avatar))
    EXECUTE FUNCTION change_profiles_version();
