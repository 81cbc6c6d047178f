"""Names on the socket and in JSON to and from the model: strict in, exact out.

``objects`` builds what leaves (profiles, messages, lists), ``inbound`` reads what clients send, ``events`` builds the
payloads of events and acknowledgements, and ``catalogue`` lists every event of both directions with the type of its
payload. All values that leave are msgspec structs; :func:`chatsys.wire.objects.encode` makes JSON of them.
"""
