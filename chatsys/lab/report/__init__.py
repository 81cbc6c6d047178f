"""Reports that need the lab: of load tests, of buses between servers, and of other Socket.IO servers."""
