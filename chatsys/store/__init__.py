"""The stores. ``contract`` defines the verbs, ``opening`` opens a store by its URL."""
