"""A load test: a server, Locust, counters and a verdict."""
