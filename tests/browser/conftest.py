"""The web client in real Chromium: a server as an operator starts it, and people with one window each.

Any fault of a page ends its test: an error on its console, a request to another host, a serious finding of axe.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, ConsoleMessage, Locator, Page, Request, async_playwright, expect

from tests.flow.conftest import STORES, database_url, serve, start
from tests.flow.serving import Served

__all__ = ["STORES", "database_url", "serve", "start"]

PATIENCE = 30_000
"""Milliseconds until an expected element counts as missing."""

AXE = Path(__file__).parents[1] / "flow" / "node" / "node_modules" / "axe-core" / "axe.min.js"
REFUSED = re.compile(r"net::ERR_(CONNECTION|EMPTY|SOCKET)|WebSocket connection to .* failed")
"""What Chromium itself writes to the console while a server is unavailable; no page can prevent it."""

expect.set_options(timeout=PATIENCE)


def chromium() -> str | None:
    """Return the path of Debian's Chromium, or of the browser on GitHub's runners."""
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    return next((path for path in found if path), None)


class Person:
    """A person with a window of the client."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.outage = False
        self.faults: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.faults.append(f"uncaught: {error}"))
        page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not (self.outage and REFUSED.search(message.text)):
            self.faults.append(f"console: {message.text}")

    def _request(self, request: Request) -> None:
        if urlsplit(request.url).netloc != urlsplit(self.url).netloc:
            self.faults.append(f"request to another host: {request.url}")

    def at(self, selector: str, **options: Any) -> Locator:
        """Return an element of the page."""
        return self.page.locator(selector, **options)

    async def visit(self, room: str = "") -> None:
        """Open the client's page, or another room of it."""
        await self.page.goto(f"{self.url}/chat/{f'#{room}' if room else ''}")

    async def register(self, name: str) -> None:
        """Create an account and log in with it."""
        await self.at("#tab-register").click()
        for field, text in (("username", name), ("email", f"{name}@example.org"), ("password", f"secret of {name}")):
            await self.at(f"#register [name={field}]").fill(text)
        await self.at("#register button").click()
        await self.here()

    async def log_in(self, name: str, password: str | None = None) -> None:
        """Log in with an existing account."""
        await self.at("#login [name=username]").fill(name)
        await self.at("#login [name=password]").fill(password or f"secret of {name}")
        await self.at("#login button").click()

    async def join_as_guest(self, name: str) -> None:
        """Join without an account."""
        await self.at("#tab-guest").click()
        await self.at("#guest [name=name]").fill(name)
        await self.at("#guest button").click()
        await self.here()

    async def here(self, room: str | None = None) -> None:
        """Wait until the client has joined the room."""
        if room is not None:
            await expect(self.at("#room-name")).to_have_text(room)
        await expect(self.at("#room-facts")).to_contain_text("here")

    async def go(self, room: str) -> None:
        """Open a room from the list."""
        await self.at("#all-rooms .room", has_text=room).click()
        await self.here(room)

    async def say(self, text: str) -> None:
        """Send a message."""
        await self.at("#text").fill(text)
        await self.at("#text").press("Enter")

    def message(self, text: str) -> Locator:
        """Return the row of a message."""
        return self.page.locator(".msg", has=self.page.get_by_text(text, exact=True))

    async def texts(self) -> list[str]:
        """Return the messages on the page, in order."""
        return await self.at(".msg .said").all_text_contents()

    async def sees(self, *texts: str) -> None:
        """Wait until the page shows exactly these messages, once each and in order, with none still being sent."""
        await expect(self.at(".msg .said")).to_have_text(list(texts))
        await expect(self.at(".wait, .fail")).to_have_count(0)
        assert await self.texts() == list(texts)

    async def check_accessibility(self) -> None:
        """Check that axe-core finds nothing serious on the current page."""
        assert AXE.is_file(), "install the JavaScript packages: npm ci --prefix tests/flow/node"
        await self.page.evaluate(AXE.read_text())
        found: list[dict[str, Any]] = await self.page.evaluate("async () => (await axe.run()).violations")
        serious = [one for one in found if one["impact"] in {"serious", "critical"}]
        shown = [f"{one['id']}: {one['help']}: {[node['html'] for node in one['nodes']]}" for one in serious]
        assert not shown, "\n".join(shown)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Chromium without a visible window."""
    path = chromium()
    if path is None:
        missing = "these tests need Chromium: apt-get install chromium"
        assert not os.environ.get("CI"), missing
        pytest.skip(missing)
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield launched
        await launched.close()


Meet = Callable[..., Awaitable[Person]]
"""Opens the client of a server in a new window: ``meet(served.url, width=1280, ...)``."""


@pytest.fixture
async def meet(browser: Browser) -> AsyncIterator[Meet]:
    """Open windows, each with its own storage. At the end, check that none of their pages had a fault."""
    people: list[Person] = []
    async with AsyncExitStack() as stack:

        async def go(url: str, *, width: int = 1280, height: int = 800, room: str = "", **options: Any) -> Person:
            context = await browser.new_context(viewport={"width": width, "height": height}, **options)
            stack.push_async_callback(context.close)
            context.set_default_timeout(PATIENCE)
            person = Person(await context.new_page(), url)
            people.append(person)
            await person.visit(room)
            return person

        yield go
        assert [person.faults for person in people if person.faults] == []


@pytest.fixture
def served(serve: Callable[..., Served]) -> Served:
    """A server on an empty memory store."""
    return serve("--database-url", "memory://")


@pytest.fixture
def served_on_each(serve: Callable[..., Served], database_url: str) -> Served:
    """A server on an empty store of each kind, for tests whose answers may depend on the kind."""
    return serve("--database-url", database_url)
