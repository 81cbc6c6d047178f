"""Faults under traffic: real servers, databases and clients, everything that each client saw, and what it amounts to.

``site`` starts PostgreSQL, a proxy before it for each server, and the servers. ``socket`` and ``traffic`` are the
clients. ``catalogue`` is the table of faults: ``processes``, ``database``, ``answers``, ``hostile`` and ``buses`` hold
them. ``injection`` injects one under traffic and judges it, ``running`` runs a profile, ``record`` is the result file,
``page`` shows it. ``mutations`` take a mechanism away, to see whether a fault notices; ``fuzzing`` sends nonsense.

``python -m chatsys.lab.faults`` is the command line.
"""
