"""Load tests: Locust users that speak Socket.IO and time what people feel.

``chat.py`` is the locustfile. For any Socket.IO server: ``socketio_user`` (the Locust user), on ``client`` (Socket.IO),
``transport`` (Engine.IO over a WebSocket or polling) and ``frames`` (RFC 6455); ``figures``, ``histogram`` and
``recent`` feed Locust's statistics. For chat: ``weights`` (who does what how often), ``personas``, ``arrivals`` (open
loop), ``shapes``, ``accounts``, ``rest``, ``validity`` (the generator watched), ``lifecycle``, ``refusals``, ``record``
and ``verdict``; ``run`` is what they share. ``cost`` compares the user with Locust's own. Every message is accounted
for in ``chatsys.results``.

From chatsys it may import only ``results``, ``wire`` and ``model``: a load client that can reach the store is cheating.
"""
