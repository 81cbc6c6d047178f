"""A load test: a server, Locust against it, counters beside it, and a verdict."""
