"""Many Socket.IO clients in one process, cheap enough that the server is what gets measured.

``sockets`` speaks the protocol over plain sockets and one selector, and keeps what arrives unparsed, each piece with
its time of arrival; what it means is looked up after the clock has stopped. ``sending`` has the loops and the audit,
``scenes`` are the experiments, and ``python -m chatsys.lab.crowd`` runs one of them as a process of its own: the scene,
and each turn it is to take, as JSON on standard input, the measurements as JSON on standard output.
"""
