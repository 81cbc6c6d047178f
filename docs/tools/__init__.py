"""Generates the parts of the documentation that come from the source; `make docs` calls each."""
