"""Shadow traffic: a proxy copies the traffic of one chat server to a second one and compares what both answer.

``twins`` matches the ids of the two servers and finds what differs; ``findings`` counts the differences; ``traffic``
keeps the second server's calls in order and matches the events of both; ``server`` is the proxy in front of the first.
"""
