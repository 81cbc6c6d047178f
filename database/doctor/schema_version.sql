-- Whether the schema is older than the one that this program needs (:version, for example 0003).
SELECT 'alembic_version' AS object,
       format('the schema is at %s, this program needs %s', version_num, to_char(:version, 'FM0000')) AS evidence,
       'chatsys db backup before.dump && chatsys db migrate' AS command
FROM alembic_version
WHERE version_num ~ '^[0-9]+$' AND version_num::int < :version;
