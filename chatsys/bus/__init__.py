"""What carries events between the server processes of one chat.

``contract`` says what a broker has to do, ``notify``, ``redis`` and ``nats`` are the three there are, ``opening`` picks
one. Everything else is the same for all: ``messages`` (the envelope and its MAC), ``outbox`` and ``inbox`` (bounded
queues and numbers), ``interest`` (which rooms this server has) and ``peers`` (the life of the connection).
"""
