"""Many Socket.IO clients in one process, cheap enough that the server is the bottleneck.

``sockets`` speaks the protocol over plain sockets and one selector. It stores what arrives unparsed, each piece with
its time of arrival, and parses it after the timed part. ``sending`` has the loops and the audit. ``scenarios`` are the
experiments. ``python -m chatsys.lab.clients`` runs one of them as a process: it reads the scenario and the order of
each repetition as JSON from standard input, and writes the measurements as JSON to standard output.
"""
