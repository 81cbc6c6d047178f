"""Shadow traffic: what clients send to one chat server goes to a second one too, and what both answer is compared.

``twins`` knows which ids of the two mean the same, and says what differs; ``findings`` counts that; ``traffic`` keeps
the second server's calls in order, and matches the events of both; ``server`` stands between clients and the first.
"""
