"""What is remembered. ``contract`` states the verbs, ``opening`` opens a store by its URL."""
