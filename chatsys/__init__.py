"""chatsys: a reference chat server on two stores, and the laboratory that compares them.

The house is a corridor; a message walks one way in and one way out::

    socket ─► realtime ─► wire.decode ─► chat verb ─► store (commits, assigns seq) ─┐
                                                                                    ├─► ack to the sender
    clients ◄─ realtime.fanout ◄─ wire.encode ◄─ chat publishes MessagePosted ◄─────┘

HTTP enters by ``web`` and joins the same corridor at ``chat``.

==============  ======================================================================
errors          every error: one tree, a stable code each
settings        every setting as one table
logs            log lines, each with the request or socket it is about
metrics         every number that /metrics shows
resources       where the files of ``database/`` lie, in a checkout and in a wheel
model           the language of chat: frozen values and pure rules
wire            names on the socket and in JSON to and from the model
store           what is remembered: the contract, the memory store, the PostgreSQL store
chat            what may happen: verbs over a store and a fan-out
realtime        door 1: Socket.IO
web             door 2: FastAPI
app             the wiring: open_store inside open_chat inside serve
workers         several server processes on one port
lab             the benchmark laboratory
analytics       result files and PostgreSQL's own views as pandas frames; plots
cli             the command line
==============  ======================================================================
"""

__version__ = "0.1.0"
