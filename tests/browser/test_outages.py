"""The server is killed, returns, or is reached in unusual ways: the pages continue without being reloaded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from playwright.async_api import expect

from tests.flow.clients import Client
from tests.flow.conftest import Serve
from tests.flow.serving import Served

from .conftest import Meet

MANY = 3_000
SOON = 5_000
"""Milliseconds from joining a large room to its first message: one second, plus slack for a busy machine."""


async def test_server_killed_between_two_messages_loses_and_repeats_nothing(
    serve: Serve, postgres_url: str, meet: Meet
) -> None:
    served = serve("--database-url", postgres_url)
    alice, bob = await meet(served.url), await meet(served.url)
    await alice.register("alice")
    await bob.join_as_guest("bob")
    await alice.say("before")
    for person in (alice, bob):
        await person.sees("before")
        person.outage = True
    served.kill()
    for person in (alice, bob):
        await expect(person.at("#banner")).to_contain_text("Connection lost. Reconnecting…")
    await alice.say("while it is away")
    await alice.say("and again")
    await expect(alice.at("#banner")).to_contain_text("2 messages are waiting and will be sent once.")
    await expect(alice.at(".wait")).to_have_count(2)
    await alice.check_accessibility()
    serve("--database-url", postgres_url, "--port", str(served.port))
    for person in (alice, bob):
        await expect(person.at("#banner")).to_be_hidden()
        person.outage = False
    await bob.say("welcome back")
    for person in (alice, bob):
        await person.sees("before", "while it is away", "and again", "welcome back")
        await expect(person.at("#people-title")).to_have_text("Here now, 2")
    await expect(alice.message("and again").locator(".state")).to_contain_text("read by 1")


async def test_restarted_memory_server_is_shown_with_its_empty_history(serve: Serve, meet: Meet) -> None:
    served = serve("--database-url", "memory://")
    alice, bob = await meet(served.url), await meet(served.url)
    await alice.join_as_guest("alice")
    await bob.join_as_guest("bob")
    await alice.say("forgotten")
    for person in (alice, bob):
        await person.sees("forgotten")
        person.outage = True
    served.kill()
    await expect(bob.at("#banner")).to_be_visible()
    await bob.say("waited")
    serve("--database-url", "memory://", "--port", str(served.port))
    for person in (alice, bob):
        await person.sees("waited")
        person.outage = False


async def test_unknown_account_is_sent_to_the_start_page(serve: Serve, meet: Meet) -> None:
    served = serve("--database-url", "memory://", JWT_SECRET="x" * 40)
    alice = await meet(served.url)
    await alice.register("alice")
    alice.outage = True
    served.kill()
    serve("--database-url", "memory://", "--port", str(served.port), JWT_SECRET="x" * 40)
    await expect(alice.at("#welcome-note")).to_have_text("Your session has ended. Please log in again.")
    await alice.join_as_guest("alice")


async def test_large_room_appears_at_once_and_scrolls_back_to_its_beginning(served_on_each: Served, meet: Meet) -> None:
    async with Client(served_on_each.url, ["websocket"]) as writer:
        await writer.join("large")
        for number in range(MANY - 1):
            await writer.emit("send-message", {"message": f"message {number}"})
        await writer.send(f"message {MANY - 1}")
    bob = await meet(served_on_each.url)
    await bob.join_as_guest("bob")
    await bob.page.evaluate(WATCH, f"message {MANY - 1}")
    await bob.go("large")
    await expect(bob.message(f"message {MANY - 1}")).to_be_visible()
    took = await bob.page.evaluate("window.firstSeen")
    assert took < SOON
    await expect(bob.at("#room-facts")).to_contain_text("3,000 messages")
    assert await bob.at(".msg").count() <= 300
    log = bob.at("#log")
    while (shown := await bob.at(".msg").count()) < MANY:
        await log.evaluate("log => { log.scrollTop = 0 }")
        await expect(bob.at(f".msg >> nth={shown}")).to_be_attached()
    await log.evaluate("log => { log.scrollTop = 0 }")
    await expect(bob.message("message 0")).to_be_in_viewport()
    assert await bob.texts() == [f"message {number}" for number in range(MANY)]


WATCH = """text => {
  addEventListener('hashchange', () => {
    const began = performance.now();
    const look = () => {
      const shown = [...document.querySelectorAll('.msg .said')].some(p => p.textContent === text);
      if (shown) window.firstSeen = performance.now() - began;
      else requestAnimationFrame(look);
    };
    look();
  }, { once: true });
}"""


async def test_older_messages_load_without_moving_the_visible_ones(served: Served, meet: Meet) -> None:
    async with Client(served.url, ["websocket"]) as writer:
        await writer.join("large")
        for number in range(250):
            await writer.send(f"message {number}\n" * (number % 4 + 1))
        bob = await meet(served.url, room="large")
        await bob.join_as_guest("bob")
        top = "document.querySelector('[data-seq=\"170\"]').getBoundingClientRect().top"
        await bob.at('[data-seq="170"]').scroll_into_view_if_needed()
        before = await bob.page.evaluate(top)
        await writer.send("one more")
        await expect(bob.at("#pill")).to_have_text("↓ 1 new message")
        assert abs(await bob.page.evaluate(top) - before) <= 1
        await bob.at("#log").evaluate("log => { log.scrollTop -= 700 }")
        await expect(bob.at('[data-seq="101"]')).to_be_attached()
        before = await bob.page.evaluate(top)
        await expect(bob.at('[data-seq="51"]')).to_be_attached()
        assert abs(await bob.page.evaluate(top) - before) <= 1


async def test_message_that_arrives_before_a_scroll_event_is_not_marked_read(served: Served, meet: Meet) -> None:
    async with Client(served.url, ["websocket"]) as writer:
        await writer.join("large")
        for number in range(50):
            await writer.send(f"message {number}")
        bob = await meet(served.url, room="large")
        await bob.join_as_guest("bob")
        await expect(bob.message("message 49")).to_be_in_viewport()
        # the client gets no scroll event
        await bob.page.evaluate("addEventListener('scroll', event => event.stopPropagation(), true)")
        await bob.at("#log").evaluate("log => { log.scrollTop = 0 }")
        await writer.send("one more")
        await expect(bob.at("#pill")).to_have_text("↓ 1 new message")
        await expect(bob.message("message 0")).to_be_in_viewport()


@pytest.mark.parametrize("prefix", ["", "/deep/below"])
async def test_client_works_behind_a_path_prefix_of_a_proxy(serve: Serve, meet: Meet, prefix: str) -> None:
    served = serve("--database-url", "memory://")
    async with proxy(served.url, prefix) as url:
        alice, bob = await meet(f"{url}{prefix}"), await meet(served.url)
        await alice.register("alice")
        await bob.join_as_guest("bob")
        await alice.say("from behind the proxy")
        await bob.sees("from behind the proxy")
        await bob.say("and back")
        await alice.sees("from behind the proxy", "and back")
        await alice.page.goto(f"{url}{prefix}/chat")  # the prefix has no trailing slash
        await alice.here()
        await alice.page.goto(f"{url}{prefix}/")
        await alice.page.get_by_role("link", name="Open the chat").click()
        await alice.here()


@asynccontextmanager
async def proxy(target: str, prefix: str) -> AsyncIterator[str]:
    """A reverse proxy that removes ``prefix`` from each path."""

    async def forward(request: web.Request) -> web.StreamResponse:
        url = target + request.raw_path.removeprefix(prefix)
        if request.headers.get("Upgrade") == "websocket":
            return await _tunnel(session, url, request)
        headers = {name: text for name, text in request.headers.items() if name != "Host"}
        sent = session.request(request.method, url, headers=headers, data=await request.read(), allow_redirects=False)
        async with sent as answer:
            body = await answer.read()
            kept = {name: text for name, text in answer.headers.items() if name.lower() != "content-length"}
            return web.Response(status=answer.status, body=body, headers=kept)

    app = web.Application()
    app.router.add_route("*", f"{prefix}/{{path:.*}}", forward)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    async with aiohttp.ClientSession() as session:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


async def _tunnel(session: aiohttp.ClientSession, url: str, request: web.Request) -> web.StreamResponse:
    front = web.WebSocketResponse()
    await front.prepare(request)
    async with session.ws_connect(url) as back, asyncio.TaskGroup() as group:
        group.create_task(_pump(front, back))
        group.create_task(_pump(back, front))
    return front


async def _pump(
    source: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
    target: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
) -> None:
    async for message in source:
        await target.send_str(message.data)
    await target.close()
