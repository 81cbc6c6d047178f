"""Compare two commits in one run: an older revision and the working tree take turns on one machine at one time.

The two sides meet only at the command line (``chatsys serve``, ``chatsys db init``, ``chatsys bench subject``), on the
wire and in result files, so that either may be rewritten.

===========  =====================================================================================
checkout     the older revision in a Git worktree, with an environment of its own
subject      the process behind ``chatsys bench subject``: store operations on request
sides        one side: its commands, its databases, its processes
clock        processor time of other processes, in nanoseconds
requests     what is asked of a server over HTTP and Socket.IO
plan         the operations, and how much of each a turn does
rounds       fresh processes in each round, and short turns A B B A within it
verdicts     what the rounds say of each operation, with one error rate for the whole run
comparison   the run from its first line to its record
record       comparison.json
table        80 columns for a terminal, Markdown for a summary
study        how often the comparison is wrong: runs of equal sides, and of a slowdown planted on one
===========  =====================================================================================
"""
