"""The records of runs, and the rules that judge them. Imports nothing of the server.

Benchmarks: ``run`` (the record), ``claims`` (the guide's promises judged), ``decision`` (the first screen),
``distributions``, ``names``, ``numbers`` and ``upgrades`` (the names in older files). Load tests: ``stamps`` (a
message's text says who sent it and when), ``ledger`` (what each client should get and got, in constant memory),
``stays`` (the same without sequence numbers), ``audit`` (acknowledged = stored = delivered once, in order), ``history``
(the same rules and more, on a complete record) and ``capacity``.
"""
