"""What lies between two programs of one machine: proxies that break or delay connections, packets that are dropped."""
