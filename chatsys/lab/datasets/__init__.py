"""Synthetic rows as a pure function of sizes and seed, and how each store is filled with them."""
