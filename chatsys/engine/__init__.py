"""The server side of Engine.IO 4 and Socket.IO 5, independent of chat.

connection  one client as a state machine without I/O: open, polling, probing, websocket, closing, closed
engine      all connections: limits, their total memory, their timers
scheduler   fair writing: round-robin over the send queues in which connections wait
wheel       one timer wheel for pings and deadlines
sockets     Socket.IO on top: namespaces, events in order, attachments
polling     the HTTP endpoint
websocket   the WebSocket transport

Clock, event loop, random ids and transports are passed in.
"""
