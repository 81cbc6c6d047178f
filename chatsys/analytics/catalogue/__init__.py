"""Every monitoring query by name; the three queries of the migration guide come first."""

from __future__ import annotations

from chatsys.analytics.catalogue import activity, chat, storage, work
from chatsys.analytics.catalogue.kinds import DTYPES, Column, Query

_GUIDE = ("connections", "database_size", "table_sizes")
_ALL = {query.name: query for group in (activity, storage, work, chat) for query in group.QUERIES}

QUERIES: dict[str, Query] = {name: _ALL[name] for name in (*_GUIDE, *(name for name in _ALL if name not in _GUIDE))}

__all__ = ["DTYPES", "QUERIES", "Column", "Query"]
