"""What an operator does to a PostgreSQL database: back up, restore, clean up, compare, check.

Everything here is synchronous (psycopg, pg_dump, pg_restore, psql) and runs beside the server, never in it.
"""
