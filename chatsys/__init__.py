"""chatsys: a reference chat server on two stores, and the laboratory that compares them.

A message takes one path in and one path out::

    socket ─► realtime ─► wire.decode ─► chat verb ─► store (commits, assigns seq) ─┐
                                                                                    ├─► ack to the sender
    clients ◄─ realtime.fanout ◄─ wire.encode ◄─ chat publishes MessagePosted ◄─────┘

HTTP enters by ``web`` and joins the same path at ``chat``.

==============  ======================================================================
errors          every error: one tree, a stable code each
settings        every setting as one table
logs            log lines, each with the request or socket it is about
metrics         every number that /metrics shows
resources       where the files of ``database/`` lie, in a checkout and in a wheel
model           the language of chat: frozen values and pure rules
store           what is remembered: the contract, the memory store, the PostgreSQL store
database        what an operator does to a database
wire            names on the socket and in JSON to and from the model
protocol        frames and packets of Engine.IO, Socket.IO and WebSocket, without I/O
chat            what may happen: verbs over a store and a fan-out
bus             what carries events between servers
engine          the server side of the protocol, with no chat in it
realtime        chat over Socket.IO
web             chat over HTTP
client          the client side of the protocol, on asyncio and on gevent
server          composition and process: a store inside a chat inside a server
results         what a run is
reports         results as HTML, Markdown and pictures
loadtesting     the users of a load test
lab             the benchmark laboratory
analytics       result files and PostgreSQL's own views as pandas frames; plots
cli             the command line
==============  ======================================================================
"""

__version__ = "0.1.0"
