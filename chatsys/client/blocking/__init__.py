"""The client on gevent, for load users: a call blocks only its greenlet.

client        SocketIOClient: connect, emit, call, handlers, namespaces, reconnect
transports    Engine.IO over a WebSocket, over polling, or over polling that becomes a WebSocket
"""
