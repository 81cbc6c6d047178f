"""Compare two commits in one run: an older revision and the working tree alternate on one machine.

The lab uses only what both sides share: the command line (``chatsys serve``, ``chatsys db init``, ``chatsys bench
subject``), the wire and the result files. The code of either side may change completely.

===========  =====================================================================================
checkout     the older revision in a Git worktree, with an environment of its own
subject      the process behind ``chatsys bench subject``: store operations on request
sides        one side: its commands, its databases, its processes
clock        processor time of other processes, in nanoseconds
requests     requests to a server over HTTP and Socket.IO
plan         the operations, and how many calls a repetition makes
rounds       fresh processes in each round, and short repetitions A B B A within it
verdicts     what the rounds say about each operation, with one error rate for the whole run
comparison   the run from its start to its record
record       comparison.json
table        80 columns for a terminal, Markdown for a summary
study        how often the comparison is wrong: runs with equal sides, and with a slowdown planted on one
===========  =====================================================================================
"""
