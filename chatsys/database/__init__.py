"""What an operator does to a database: start a private one, set up, back up, restore, clean up, move, compare, check.

Nothing here is needed by a verb of the chat. What works on PostgreSQL is synchronous (psycopg, pg_dump, pg_restore,
psql) and runs beside the server, never in it.
"""
