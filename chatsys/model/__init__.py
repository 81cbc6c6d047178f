"""The vocabulary of the chat: frozen, slotted, keyword-only values and pure rules. No I/O, no clock.

All identifiers are strings: canonical lower-case UUIDs, or a guest's own id (see :mod:`chatsys.model.rules`).
All times are timezone-aware UTC datetimes in whole milliseconds, so that both stores return exactly what they stored.
"""
