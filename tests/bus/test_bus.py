"""The bus on each broker delivers once and in order, and notices every failure within a lease."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from chatsys import metrics
from chatsys.bus import interest, outbox
from chatsys.bus.outbox import EVENT_MOST
from chatsys.errors import BusUnavailable

from .conftest import LEASE, Node, Site, channel, running, sealed, texts, works_again

Pair = tuple[Node, Node]


def dropped(reason: str) -> float:
    return metrics.bus_dropped.labels(reason)._value.get()


async def test_bus_carries_events_in_order_to_others_only(pair: Pair) -> None:
    one, two = pair
    sent = [f"{number}" for number in range(3_000)]
    for number, text in enumerate(sent):
        one.send("r", text, two)
        if number % 500 == 0:
            await asyncio.sleep(0)
    await two.until(lambda: len(two.events) == len(sent))
    assert texts(two) == sent
    assert one.events == []
    assert two.gaps == []


async def test_bus_carries_long_events_and_any_characters(pair: Pair) -> None:
    one, two = pair
    sent = ["x" * 20_000, "\u00e9\U0001f600 '" * 5_000, "", "last"]
    for text in sent:
        one.send("r", text, two)
    await two.until(lambda: len(two.events) == len(sent))
    assert texts(two) == [text.strip('"') for text in sent]


@pytest.mark.parametrize("room", ["a b.c*>", "\u00fc" * 100, "\U0001f600", "*", "x" * 100, "'; --", "\t"])
async def test_bus_carries_events_of_rooms_of_any_name(pair: Pair, room: str) -> None:
    one, two = pair
    await two.enter(room)
    one.send(room, "here", two)
    await two.until(lambda: texts(two, room) == ["here"])


async def test_bus_carries_nothing_of_rooms_that_a_server_has_left(site: Site, pair: Pair) -> None:
    one, two = pair
    await two.enter("q")
    two.bus.leave("q")
    if site.broker().rooms:
        one.send("q", "not received", two)
    one.send("r", "received", two)
    await two.until(lambda: len(two.events) > 0)
    assert texts(two, "q") == []
    await two.enter("q")
    one.send("q", "again", two)
    await two.until(lambda: "again" in texts(two, "q"))
    assert None not in two.gaps


async def test_bus_learns_the_servers_of_a_room_from_the_store_and_their_events(pair: Pair) -> None:
    one, two = pair
    assert one.bus.others("r", None) == ()
    assert one.bus.others("r", [one.server, "x"]) == ("x",)
    assert one.bus.others("r", None) == ("x",)
    two.send("r", "hello", one)
    await one.until(lambda: one.events != [])
    assert set(one.bus.others("r", None)) == {"x", two.server}
    assert one.bus.others("elsewhere", ["y"]) == ("y",)
    assert one.bus.others("elsewhere", None) == ()


async def test_bus_notices_a_broker_that_reads_but_answers_nothing(
    site: Site, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = pair
    caplog.set_level(logging.INFO, "chatsys.bus")
    site.proxy.silent = True
    one.send("r", "kept until it is back", two)
    async with asyncio.timeout(2 * LEASE):
        while not caplog.records:
            await asyncio.sleep(0.01)
    async with asyncio.timeout(3 * LEASE):
        while not (one.bus.deaf and two.bus.deaf):
            await asyncio.sleep(0.01)
    site.proxy.heal()
    await works_again(one, two)
    assert not one.bus.deaf
    assert texts(two).count("kept until it is back") <= 1
    lines = [record.getMessage() for record in caplog.records]
    assert sum("is unavailable" in line for line in lines) == sum("works again" in line for line in lines) == 2


async def test_bus_recovers_after_dropped_packets(site: Site, pair: Pair) -> None:
    one, two = pair
    site.proxy.stall()
    for number in range(200):
        one.send("r", f"{number}" + "x" * 5_000, two)
    await asyncio.sleep(1.5 * LEASE)
    used = time.process_time()
    await asyncio.sleep(0.5)
    assert time.process_time() - used < 0.25
    site.proxy.heal()
    await works_again(one, two)
    arrived = [int(text.strip("x")) for text in texts(two) if text.endswith("x")]
    assert arrived == sorted(set(arrived))


@pytest.mark.parametrize("kill", [False, True], ids=["reset", "killed"])
async def test_bus_recovers_after_the_broker_was_unavailable(site: Site, pair: Pair, kill: bool) -> None:
    one, two = pair
    if site.process is not None:
        await asyncio.to_thread(site.process.stop, kill=kill)
    await site.proxy.refuse()
    one.send("r", "kept", two)
    await asyncio.sleep(0.3)
    if site.process is not None:
        await asyncio.to_thread(site.process.start)
    await site.proxy.accept()
    await works_again(one, two)
    assert texts(two).count("kept") <= 1  # lost if the other server was not back yet, which then reads the room


async def test_bus_survives_a_damaged_stream(site: Site, pair: Pair) -> None:
    one, two = pair
    site.proxy.inject(site.garbage)
    await works_again(one, two)


async def test_bus_drops_forged_messages_and_counts_them(site: Site, pair: Pair) -> None:
    one, two = pair
    body = b'{"server":"elsewhere","number":1,"first":true,"events":[["r","forged"]]}'
    before = dropped("forged"), dropped("garbage"), dropped("repeated")
    where = channel(site, two)
    await site.publish(where, sealed(site, two, body, key=b"another key"))
    await site.publish(where, sealed(site, two, body.replace(b'"r"', b'"q"')).replace(b'"q"', b'"r"'))
    await site.publish(where, b"hello")
    await site.publish(where, body)
    await site.publish(where, sealed(site, two, b'{"server":1}'))
    one.send("r", "genuine", two)
    await two.until(lambda: two.events != [])
    assert texts(two) == ["genuine"]
    expected = 2 if not site.broker().rooms else 4  # a room's channel reaches both servers
    assert dropped("forged") - before[0] == expected
    assert dropped("garbage") - before[1] == 3 * expected / 2
    assert two.gaps == []


async def test_bus_drops_repeated_messages(site: Site, pair: Pair) -> None:
    one, two = pair
    body = b'{"server":"elsewhere","number":%d,"first":%s,"events":[["r","%d"]]}'
    first, second = (sealed(site, two, body % (n, b"true" if n == 1 else b"false", n)) for n in (1, 2))
    for message in (first, second, first, second):
        await site.publish(channel(site, two), message)
    one.send("r", "last", two)
    await two.until(lambda: "last" in texts(two))
    assert texts(two) == ["1", "2", "last"]


async def test_bus_requests_a_room_read_when_a_message_is_missing(site: Site, pair: Pair) -> None:
    _, two = pair
    body = b'{"server":"elsewhere","number":%d,"first":%s,"events":[["r","%d"]]}'
    for number in (1, 3):
        first = b"true" if number == 1 else b"false"
        await site.publish(channel(site, two), sealed(site, two, body % (number, first, number)))
    await two.until(lambda: len(two.events) == 2)
    assert two.gaps == (["r"] if site.broker().rooms else [None])


async def test_bus_requests_a_room_read_when_a_newer_version_sends(site: Site, pair: Pair) -> None:
    _, two = pair
    await site.publish(channel(site, two), sealed(site, two, b"whatever that may be", version="27"))
    await two.until(lambda: two.gaps == (["r"] if site.broker().rooms else [None]))
    assert two.events == []


async def test_bus_requests_a_room_read_when_its_queue_was_full(
    site: Site, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = pair
    monkeypatch.setattr(outbox, "EVENTS_MOST", 10)
    await two.enter("q")
    before = dropped("overflow")
    one.send("q", "lost", two)
    for number in range(10):
        one.send("r", f"{number}", two)
    one.send("r", "x" * EVENT_MOST, two)
    one.send("r", "last", two)
    await two.until(lambda: "last" in texts(two))
    assert set(two.gaps) == {"q", "r"}
    assert dropped("overflow") - before == 11
    assert texts(two, "q") == []


async def test_bus_does_not_delay_a_join_while_it_receives_nothing(
    site: Site, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = pair
    monkeypatch.setattr(interest, "WAIT", 0.05)
    site.proxy.silent = True
    async with asyncio.timeout(1):
        await two.enter("q")
        await two.enter("p")
    await asyncio.sleep(LEASE)
    site.proxy.heal()
    await works_again(one, two)
    one.send("p", "here", two)
    await two.until(lambda: texts(two, "p") == ["here"])


async def test_bus_requests_a_read_of_a_room_that_it_subscribed_late(
    site: Site, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not site.broker().rooms:
        assert pair[0].bus.enter("q") is None
        return
    monkeypatch.setattr(interest, "WAIT", 0.02)
    site.proxy.stall()
    await pair[1].enter("q")
    await pair[1].enter("p")
    site.proxy.heal()
    await pair[1].until(lambda: {"q", "p"} <= set(pair[1].gaps))


async def test_bus_closes_quickly_whatever_the_broker_does(site: Site) -> None:
    site.proxy.stall()
    site.proxy.heal()
    async with running(site.broker()) as node:
        site.proxy.stall()
        node.send("r", "x" * 100_000, node)
        began = time.monotonic()
    assert time.monotonic() - began < 4


@pytest.mark.parametrize("how", ["refused", "silent", "stalled"])
async def test_unusable_bus_fails_the_start_within_the_timeout(site: Site, how: str) -> None:
    if how == "refused":
        await site.proxy.refuse()
    site.proxy.silent = how == "silent"
    if how == "stalled":
        site.proxy.stall()
    began = time.monotonic()
    with pytest.raises(BusUnavailable) as caught:
        async with running(site.broker()):
            pass
    assert time.monotonic() - began < 4
    assert caught.value.hint
    assert "cancelled" not in caught.value.message
    site.proxy.heal()


async def test_bus_with_another_key_receives_nothing(site: Site, pair: Pair) -> None:
    async with running(site.broker(), key=b"z" * 32) as other:
        await other.enter("r")
        pair[0].send("r", "ours", pair[1], other)
        await pair[1].until(lambda: texts(pair[1]) == ["ours"])
        other.send("r", "theirs", other)
        await asyncio.sleep(0.1)
    assert "ours" not in texts(other)
