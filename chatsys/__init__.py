"""chatsys: a reference chat server on two stores, and the laboratory that compares them.

A message takes one path in and one path out::

    socket ─► realtime ─► wire.decode ─► chat verb ─► store (commits, assigns seq) ─┐
                                                                                    ├─► ack to the sender
    clients ◄─ realtime.fanout ◄─ wire.encode ◄─ chat publishes MessagePosted ◄─────┘

HTTP requests enter through ``web`` and join the same path at ``chat``.

==============  ======================================================================
errors          every error: one tree, a stable code each
settings        every setting as one table
logs            log lines, each with the request or socket that it concerns
metrics         every number that /metrics shows
resources       finds the files of ``database/``, in a checkout and in a wheel
model           the terms of chat: frozen values and pure rules
store           stored data: the contract, the memory store, the PostgreSQL store
database        an operator's work on a database: set up, migrate, back up, restore
wire            translates between the model and the names in events and JSON
protocol        frames and packets of Engine.IO, Socket.IO and WebSocket, without I/O
chat            the actions (verbs) of a chat, over a store and a fan-out
bus             carries events between servers
engine          the server side of the protocol, with no chat in it
realtime        chat over Socket.IO
web             chat over HTTP
client          the client side of the protocol, on asyncio and on gevent
server          builds a server from its parts, and runs its processes
results         the data of a run
reports         results as HTML, Markdown and pictures
loadtesting     the users of a load test
lab             the benchmark laboratory
analytics       result files and PostgreSQL's own views as pandas frames; plots
cli             the command line
==============  ======================================================================
"""

__version__ = "0.1.0"
