"""A run of the benchmarks: its sizes, its environment, its rounds and its targets."""
