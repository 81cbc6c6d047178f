"""Translates between the wire format (JSON and Socket.IO events) and the model.

``objects`` builds outgoing profiles, messages and lists; ``inbound`` reads what clients send; ``events`` builds the
payloads of events and acknowledgements; ``catalogue`` lists every event of both directions with the type of its
payload. All outgoing values are msgspec structs, which :func:`chatsys.wire.objects.encode` encodes as JSON.
"""
