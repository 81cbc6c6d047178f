"""Conformance: what docs/PROTOCOL.md promises, checked against a running server from outside.

check     a check, its outcome, and the registry that the decorator fills
shapes    what an object on the wire must look like
http      requests, with what was sent and what came back written down
sockets   Socket.IO clients: the official library's, and a bare WebSocket for exact frames
probe     what one check may use: names, accounts, requests and clients of its own
checks    the checks, a module for each part of the protocol
runner    runs them: bounded in number and time, the risky ones alone and last
report    the outcomes as text, JSON or JUnit XML
"""
