"""Queries about space, tables and indexes."""

from __future__ import annotations

from chatsys.analytics.catalogue.kinds import boolean, integer, number, query, text, time

_TABLE = text("schema_name", "schema of the table"), text("table_name", "table")
_INDEX = text("index_name", "index")
_ROWS = integer("rows_estimate", "live rows, as the statistics estimate them")

QUERIES = (
    query(
        "database_size",
        "When will the disk be full, and do rows or indexes fill it?",
        text("database_name", "this database"),
        integer("size_bytes", "the whole database"),
        integer("tables_bytes", "tables, with their TOAST and maps"),
        integer("indexes_bytes", "indexes of these tables"),
        integer("system_bytes", "PostgreSQL's own catalogues and files"),
    ),
    query(
        "table_sizes",
        "Which table should be cleaned up or partitioned, and what does one row cost?",
        *_TABLE,
        _ROWS,
        integer("size_bytes", "with indexes and TOAST"),
        integer("heap_bytes", "the rows alone"),
        integer("indexes_bytes", "the indexes"),
        integer("toast_and_maps_bytes", "long values, free-space and visibility maps"),
        number("row_bytes", "size_bytes for each live row"),
    ),
    query(
        "cache_hit",
        "Is shared_buffers large enough for the tables that are used most?",
        *_TABLE,
        integer("heap_hits_total", "blocks of rows found in shared buffers"),
        integer("heap_reads_total", "blocks of rows read from the operating system"),
        number("heap_hit_ratio", "share of hits; missing before the first access"),
        integer("index_hits_total", "index blocks found in shared buffers"),
        integer("index_reads_total", "index blocks read from the operating system"),
        number("index_hit_ratio", "share of hits; missing before the first access"),
    ),
    query(
        "index_usage",
        "Which indexes carry the load, and are they worth their size?",
        *_TABLE,
        _INDEX,
        boolean("is_unique", "it also enforces uniqueness"),
        integer("scans_total", "scans that used it"),
        integer("entries_read_total", "index entries that those scans returned"),
        integer("rows_fetched_total", "live rows fetched through it by plain index scans"),
        integer("size_bytes", "its size on disk"),
        time("last_used_at", "the last scan; known from PostgreSQL 16 on"),
    ),
    query(
        "unused_indexes",
        "Which indexes cost writes and disk space but are not used? Check again after a week before you drop one.",
        *_TABLE,
        _INDEX,
        integer("size_bytes", "space that dropping it would free"),
        boolean("serves_foreign_key", "deletes of a parent row would need it"),
        time("counting_since", "last reset of the statistics; missing means never"),
    ),
    query(
        "seq_scans",
        "Which table lacks an index? Look for a large heap with many sequential scans.",
        *_TABLE,
        integer("sequential_scans_total", "sequential scans of the whole table"),
        integer("sequential_rows_total", "rows that those scans read"),
        number("rows_per_scan", "rows that such a scan read on average"),
        integer("index_scans_total", "scans that used an index"),
        number("sequential_ratio", "share of scans without an index; missing before the first scan"),
        _ROWS,
        integer("heap_bytes", "the most that one sequential scan reads"),
    ),
    query(
        "dead_tuples",
        "Does autovacuum keep up, or do old row versions pile up after deletes and receipts?",
        *_TABLE,
        integer("live_rows", "live rows, estimated"),
        integer("dead_rows", "old row versions that still take space, estimated"),
        number("dead_ratio", "share of dead rows; missing for an empty table"),
        number("dead_rows_limit", "dead rows at which autovacuum begins"),
        boolean("is_vacuum_due", "more rows are dead than that limit"),
        integer("rows_changed_since_analyze", "changes that the planner's statistics do not reflect"),
        time("last_vacuum_at", "last VACUUM, by hand or automatic"),
        time("last_analyze_at", "last ANALYZE, by hand or automatic"),
        integer("vacuums_total", "how often it was vacuumed"),
    ),
    query(
        "table_activity",
        "Which tables does a message write to, and how often does an update stay on its page (HOT)?",
        *_TABLE,
        integer("rows_inserted_total", "rows inserted"),
        integer("rows_updated_total", "rows updated"),
        integer("rows_hot_updated_total", "updates that touched no index"),
        integer("rows_deleted_total", "rows deleted"),
        integer("sequential_rows_total", "rows read by sequential scans"),
        integer("index_rows_total", "rows fetched through indexes"),
    ),
)
