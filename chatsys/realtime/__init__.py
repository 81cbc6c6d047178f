"""Door 1: Socket.IO. Sessions, routes, and the fan-out to this server's sockets and over the bus to others."""
