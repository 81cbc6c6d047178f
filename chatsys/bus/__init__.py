"""The bus carries events between the server processes of one chat.

``contract`` defines what a broker must do; ``notify``, ``redis`` and ``nats`` are the three brokers; ``opening`` picks
one. The other modules work with every broker: ``messages`` (the envelope and its MAC), ``outbox`` and ``inbox``
(bounded queues and message numbers), ``interest`` (the rooms this server subscribes to) and ``peers`` (connecting and
reconnecting).
"""
