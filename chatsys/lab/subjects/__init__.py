"""What is measured, each in a process of its own: servers, brokers, stores, and the baselines beside them."""
