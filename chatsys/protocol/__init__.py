"""Codecs without I/O, for a Socket.IO server and its client: WebSocket frames, Engine.IO and Socket.IO packets.

frames      RFC 6455: encode and decode frames, for both sides
handshake   RFC 6455: the client's opening handshake
packets     Engine.IO 4: packets and polling payloads; a packet is encoded and framed once for all its recipients
events      Socket.IO 5: events, acknowledgements and the other packets that a client may send
"""
