"""The two stores are one thing to everybody else."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from chatsys.store.contract import Store
from chatsys.store.memory import MemoryStore
from chatsys.store.postgres import PostgresStore

ROOT = Path(__file__).resolve().parents[2]


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


@pytest.mark.parametrize("kind", [MemoryStore, PostgresStore])
def test_a_store_has_the_verbs_of_the_contract_and_no_others(kind):
    assert public(kind) == public(Store)


@pytest.mark.parametrize("kind", [MemoryStore, PostgresStore])
@pytest.mark.parametrize("verb", sorted(public(Store)))
def test_a_verb_takes_what_the_contract_says(kind, verb):
    assert getattr(kind, verb).__annotations__ == getattr(Store, verb).__annotations__


def test_the_contract_suite_names_no_implementation_and_skips_nothing():
    for path in (ROOT / "tests" / "contract").glob("*.py"):
        text = path.read_text()
        assert not imported(text) & {"chatsys.store.memory", "chatsys.store.postgres"}, path.name
        assert "skip" not in text, path.name
        assert "xfail" not in text, path.name


def imported(source: str) -> set[str]:
    """The modules that a source imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
    return names
