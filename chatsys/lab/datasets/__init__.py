"""Synthetic rows as a pure function of sizes and seed, and how they get into each store."""
