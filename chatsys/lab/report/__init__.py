"""Pages that need the lab: a load test's, and what a benchmark found of the buses between servers."""
