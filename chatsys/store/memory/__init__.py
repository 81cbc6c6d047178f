"""The in-memory store: everything in this process, indexed, gone when the process ends.

``records`` holds what is remembered and its indexes, ``store`` the verbs over it.
"""

from chatsys.store.memory.store import MemoryStore

__all__ = ["MemoryStore"]
