"""The network between two programs of one machine: proxies that break or delay connections, and dropped packets."""
