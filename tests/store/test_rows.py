"""Receipts that come packed in one text are unpacked to what was packed."""

from __future__ import annotations

import uuid

import pytest

from chatsys.store.postgres.rows import readers


def packed(*ids: str) -> str:
    return "".join(each if len(each) == 36 and each.count("-") == 4 else f"~{len(each):02}{each}" for each in ids)


ACCOUNTS = [str(uuid.uuid4()) for _ in range(3)]


@pytest.mark.parametrize(
    "ids",
    [(), tuple(ACCOUNTS), ("guest-1",), ("~~", ACCOUNTS[0], "x" * 64), (ACCOUNTS[0], "0", ACCOUNTS[1], "é~12")],
)
def test_packed_readers_come_out_as_they_went_in(ids: tuple[str, ...]) -> None:
    assert readers(packed(*ids) or None) == ids
