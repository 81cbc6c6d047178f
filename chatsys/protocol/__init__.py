"""What a Socket.IO server and its client share, without I/O: WebSocket frames, Engine.IO and Socket.IO packets.

frames      RFC 6455: frames made and read, by either side
handshake   RFC 6455: the opening handshake as a client makes it
packets     Engine.IO 4: packets and polling payloads; a packet that is encoded and framed once for all its recipients
events      Socket.IO 5: events, acknowledgements and what else a client may send
"""
