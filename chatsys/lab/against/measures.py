"""What is measured of an operation."""

from __future__ import annotations

TIME, CPU, MEMORY, INSTRUCTIONS = "time", "CPU", "memory", "instructions"
STATEMENTS, PAGES, WAL = "statements", "pages", "WAL bytes"
UNITS = {TIME: "µs", CPU: "µs", MEMORY: "bytes", INSTRUCTIONS: "", STATEMENTS: "", PAGES: "", WAL: "bytes"}
COUNTED = (INSTRUCTIONS, STATEMENTS, PAGES, WAL)
"""Measures that no noise touches: two sides whose pairs of figures all differ in one direction are different."""
