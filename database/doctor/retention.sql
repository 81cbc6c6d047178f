-- Whether old messages fill the disk. Counting stops at :old_messages.
SELECT 'messages' AS object,
       format('at least %s messages are older than a year; the table and its indexes take %s', to_char(count(*), 'FM999,999,999'),
              pg_size_pretty(pg_total_relation_size('messages'))) AS evidence,
       'chatsys db cleanup --messages-older-than 365d --dry-run' AS command
FROM (SELECT FROM messages WHERE created_at < now() - interval '365 days' LIMIT :old_messages) old
HAVING count(*) >= :old_messages;
