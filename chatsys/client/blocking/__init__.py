"""The client on gevent, for load users: a call blocks its greenlet and nobody else.

client        SocketIOClient: connect, emit, call, handlers, namespaces, reconnect
transports    what carries Engine.IO: a WebSocket, polling, polling that becomes a WebSocket
connecting    sockets and HTTP connections to an address
"""
