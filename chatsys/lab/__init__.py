"""The benchmark laboratory: it opens what production opens, times it, and says what the figures mean.

============  ========================================================================
subjects      what is measured, each in a process of its own; the baselines beside it
datasets      users, messages and receipts as a pure function of a seed, in any store
workloads     the operations of the guide's table, each checks its own effect
runner        sizes of a run, its rounds in alternation, warm-up left out, its targets
experiments   growth, durability, servers killed, fan-out, senders …
clients       many clients over Socket.IO in one process
peers         Socket.IO servers of others
network       addresses; proxies that break or delay connections; packets that are dropped
provenance    which program was measured, on what, and whether it was quiet enough
statistics    percentiles, intervals over rounds, rank test, fitted exponents
record        result.json and the samples beside it
comparison    what changed between two stored runs
against       two commits compared in one run, and how often that is wrong
endpoints     the guide's table at servers that run already
loadtest      a server, Locust against it, counters beside it, and a verdict (chatsys loadtest)
faults        faults injected under traffic, and what was lost
conformance   a running server against docs/PROTOCOL.md, from outside (chatsys conformance)
shadow        a second server that follows the first one's clients, and the answers compared (chatsys shadow)
report        pages, tables and pictures
demo          two people chat while the server is killed (chatsys demo)
============  ========================================================================
"""
