"""Chat over Socket.IO: sessions, routes, and the fan-out to this server's sockets and over the bus to other servers."""
