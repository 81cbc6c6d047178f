"""The benchmark laboratory: it opens what production opens, times it, and says what the figures mean.

==============  ======================================================================
profiles        how much a run does: sizes, rounds, seconds
synthetic       users, messages and receipts as a pure function of a seed
load            those rows into PostgreSQL by COPY (kept between runs), into memory by the store's own verbs
worker, turns   one process for each thing under test, and the turns it takes when it is told to
runner          the turns interleaved, warm-up left out
workloads       the operations of the guide's table, each checks its own effect
floors          the same work with nothing of chatsys around it
experiments     growth, durability, servers killed, fan-out, senders …
statistics      percentiles, intervals over rounds, rank test, fitted exponents
provenance      which program was measured, and how it was started
machine         what the run ran on, and whether it was quiet enough to be believed
record          result.json and the samples beside it
claims          the guide's promises, and the rules that judge them
against         two commits compared in one run, and how often that is wrong
compare         what changed between two stored runs
conformance     a running server against docs/PROTOCOL.md, from outside (chatsys conformance)
shadow          a second server that follows the first one's clients, and the answers compared (chatsys shadow)
loadtest        a server, Locust against it, counters beside it, and a verdict (chatsys loadtest)
loadcounters    what the server and PostgreSQL did meanwhile, each second
report          pages, tables and pictures
==============  ======================================================================
"""
