"""The measured subjects, each in a process of its own: servers, brokers, stores and their baselines."""
