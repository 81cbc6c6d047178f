"""Conformance: checks from outside whether a running server does what docs/PROTOCOL.md says.

check     a check, its outcome, and the registry that the decorator fills
shapes    what an object on the wire must look like, and how a check fails
http      HTTP requests that record what was sent and received
sockets   Socket.IO clients: the official library's, and a bare WebSocket for exact frames
probe     the names, accounts, requests and clients of one check
checks    the checks, one module for each part of the protocol
runner    runs the checks within limits on number and time; risky checks run alone and last
report    the outcomes as text, JSON or JUnit XML
"""
