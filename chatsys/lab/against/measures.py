"""The measures of an operation."""

from __future__ import annotations

TIME, CPU, MEMORY, INSTRUCTIONS = "time", "CPU", "memory", "instructions"
STATEMENTS, PAGES, WAL = "statements", "pages", "WAL bytes"
UNITS = {TIME: "µs", CPU: "µs", MEMORY: "bytes", INSTRUCTIONS: "", STATEMENTS: "", PAGES: "", WAL: "bytes"}
COUNTED = (INSTRUCTIONS, STATEMENTS, PAGES, WAL)
"""Measures without noise: the sides differ if every pair of their figures differs in the same direction."""
