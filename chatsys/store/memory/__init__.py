"""The in-memory store: all data is in this process, indexed, and lost when the process ends.

``records`` has the records, ``store`` their indexes and the verbs.
"""

from chatsys.store.memory.store import MemoryStore

__all__ = ["MemoryStore"]
