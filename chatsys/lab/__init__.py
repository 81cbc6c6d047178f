"""The benchmark laboratory: it runs production's own objects, times them and explains the figures.

============  ========================================================================
subjects      what is measured, and the baselines; each in a process of its own
datasets      users, messages and receipts as a pure function of a seed, in any store
workloads     the operations of the guide's table; each checks its own effect
runner        the sizes of a run, its alternating rounds after a warm-up, and its targets
experiments   growth, durability, killed servers, fan-out, senders …
clients       many clients over Socket.IO in one process
peers         other Socket.IO servers
network       addresses, proxies that break or delay connections, dropped packets
provenance    which program was measured on which machine, and whether that machine was quiet enough
statistics    percentiles, intervals over rounds, rank test, fitted exponents
record        result.json and the files of samples
comparison    what changed between two stored runs
against       two commits compared in one run, and how often the comparison is wrong
endpoints     the guide's table, measured at servers that already run
loadtest      a server, Locust, counters and a verdict (chatsys loadtest)
faults        faults injected under traffic, and what was lost
conformance   a running server checked against docs/PROTOCOL.md from outside (chatsys conformance)
shadow        a second server gets the first one's traffic, and the answers are compared (chatsys shadow)
report        pages, tables and pictures
demo          two people chat while the server is killed (chatsys demo)
============  ========================================================================
"""
