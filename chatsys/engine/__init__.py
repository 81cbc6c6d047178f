"""The server's side of Engine.IO 4 and Socket.IO 5, with no chat in it.

connection  one client as a state machine without I/O: open, polling, probing, websocket, closing, closed
engine      all connections: limits, the memory that they may take together, their timers
scheduler   fair writing: connections wait in send queues, which take turns
wheel       one timer wheel for pings and deadlines
sockets     Socket.IO over it: namespaces, events in order, attachments
polling     the HTTP endpoint
websocket   the WebSocket transport

Clock, event loop, random ids and transports are passed in.
"""
