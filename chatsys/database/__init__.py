"""An operator's work on a database: start a private one, set up, back up, restore, clean up, move, compare, check.

No verb of the chat needs this package. Its work on PostgreSQL is synchronous (psycopg, pg_dump, pg_restore, psql).
"""
