"""Receipts that come packed in one text are unpacked correctly."""

from __future__ import annotations

import uuid

import pytest

from chatsys.store.postgres.rows import receipts

ACCOUNTS = [str(uuid.uuid4()) for _ in range(3)]
READERS = [(), tuple(ACCOUNTS), ("guest-1",), ("~~", ACCOUNTS[0], "x" * 64), (ACCOUNTS[0], "! 0", ACCOUNTS[1], "é~12")]


def packed(readers: tuple[str, ...], unread: tuple[str, ...]) -> tuple[str | None, str | None]:
    """Return the packed form that the database produces."""
    accounts = [each for each in readers if each in ACCOUNTS]
    marked = [
        ("!" if each in unread else "") + (each if each in ACCOUNTS else f"~{each.encode().hex()}")
        for each in readers
        if each in unread or each not in ACCOUNTS
    ]
    return " ".join(accounts) or None, " ".join(marked) or None


@pytest.mark.parametrize("readers", READERS)
@pytest.mark.parametrize("unread", [(), (ACCOUNTS[0],), ("~~", "! 0"), (*ACCOUNTS, "guest-1")])
def test_packed_receipts_are_unpacked_unchanged(readers: tuple[str, ...], unread: tuple[str, ...]) -> None:
    delivered_to, read_by = receipts(*packed(readers, unread))
    assert sorted(delivered_to) == sorted(readers)
    assert sorted(read_by) == sorted(each for each in readers if each not in unread)
