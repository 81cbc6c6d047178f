"""Inject faults into real servers and databases under traffic, record what every client sees, and judge it.

``site`` starts PostgreSQL, the servers, and for each server a proxy in front of PostgreSQL. ``traffic`` runs the
clients. ``catalogue`` lists the faults; ``processes``, ``database``, ``lost``, ``hostile``, ``buses``, ``operator`` and
``official`` define them. ``injection`` injects a fault under traffic and judges the result, and ``running`` runs a
profile. ``record`` is the result file, and ``page`` the page about it. ``mutations`` removes mechanisms of the server,
to check that a fault detects their absence. ``fuzzing`` sends malformed input.

``python -m chatsys.lab.faults`` is the command line.
"""
