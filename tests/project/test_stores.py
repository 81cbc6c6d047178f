"""The two stores have the same interface."""

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
def test_store_has_exactly_the_verbs_of_the_contract(kind):
    assert public(kind) == public(Store)


@pytest.mark.parametrize("kind", [MemoryStore, PostgresStore])
@pytest.mark.parametrize("verb", sorted(public(Store)))
def test_store_verbs_have_the_signature_of_the_contract(kind, verb):
    assert getattr(kind, verb).__annotations__ == getattr(Store, verb).__annotations__


def test_contract_suite_names_no_implementation_and_skips_nothing():
    for path in (ROOT / "tests" / "contract").glob("*.py"):
        text = path.read_text()
        assert not imported(text) & {"chatsys.store.memory", "chatsys.store.postgres"}, path.name
        assert "skip" not in text, path.name
        assert "xfail" not in text, path.name


def imported(source: str) -> set[str]:
    """Return the modules that a source file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
    return names
