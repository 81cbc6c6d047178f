"""What a run is, for everybody who makes, judges or shows one. Imports nothing of the server.

``stamps`` (a message's text says who sent it), ``ledger`` (what each client was promised and got, in constant memory),
``audit`` (acknowledged = stored = delivered once, in order) and ``history`` (the same judgement of a complete record,
with the rules that need one).
"""
