"""The language of chat: frozen, slotted, keyword-only values and pure rules. No I/O, no clock.

All identifiers are strings: canonical lower-case UUIDs, or a guest's own id (see :mod:`chatsys.model.rules`).
All times are timezone-aware UTC datetimes cut to whole milliseconds: both stores give back what they were given.
"""
