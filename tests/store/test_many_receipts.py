"""A page whose messages have thousands of receipts: limited in bytes, and made while other tasks run."""

from __future__ import annotations

import asyncio
import time

import psycopg
import pytest

from chatsys.chat.bundle import open_chat
from chatsys.chat.history import excerpt
from chatsys.wire import objects

MEMBERS = 2000

ACCOUNTS = """
INSERT INTO users (username, email, password, display_name, avatar)
SELECT 'reader ' || n, n || '@example.org', 'x', 'reader', '' FROM generate_series(1, %(members)s::int) n;
"""
BY_ACCOUNTS = """
INSERT INTO message_reads (message_id, user_id)
SELECT m.message_id, u.user_id FROM messages m, users u WHERE u.username LIKE 'reader %%'
"""
BY_GUESTS = """
INSERT INTO message_deliveries (message_id, guest_id)
SELECT m.message_id, 'guest-reader-' || n FROM messages m, generate_series(1, %(members)s::int) n
"""


async def longest_iteration(stop: asyncio.Event) -> float:
    """Return the longest iteration of the event loop until ``stop``, in seconds of CPU time."""
    longest, before = 0.0, time.thread_time()
    while not stop.is_set():
        await asyncio.sleep(0)
        now = time.thread_time()
        longest, before = max(longest, now - before), now
    return longest


@pytest.mark.parametrize("receipts", [BY_ACCOUNTS, BY_GUESTS], ids=["accounts", "guests"])
async def test_page_with_thousands_of_receipts_is_limited_and_delays_nobody(
    pg, postgres_url, hands, receipts: str
) -> None:
    ann = await hands.account(pg, "ann")
    for number in range(100):
        await pg.post_message(hands.new_message(ann, text=f"number {number}"))
    with psycopg.connect(postgres_url) as connection:
        if receipts is BY_ACCOUNTS:
            connection.execute(ACCOUNTS, {"members": MEMBERS})
        connection.execute(receipts, {"members": MEMBERS})
    async with open_chat(pg, secret="s" * 40) as chat:
        stop = asyncio.Event()
        measuring = asyncio.create_task(longest_iteration(stop))
        page = await excerpt(chat, "tea", objects.encoded_messages, limit=100, max_bytes=2_097_152)
        await asyncio.sleep(0)
        stop.set()
        assert len(page.data) <= 2_097_152
        assert page.truncated
        assert page.last == 100
        assert page.first == 101 - page.count
        assert await measuring < 0.1
    (newest,) = await pg.history("tea", 1)
    assert len(newest.delivered_to) == MEMBERS
    assert len(newest.read_by) == (MEMBERS if receipts is BY_ACCOUNTS else 0)
