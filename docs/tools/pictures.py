"""Creates the pictures of README and documentation: the chat, the report, Locust's page, the demo's recording.

Needs Chromium, and npm for svg-term, which turns a recording of asciinema into an SVG.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright, expect

from chatsys.lab.subjects.servers import chat_server, free_port

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "docs/pictures"
COLUMNS, ROWS = 98, 34
SVG_TERM = "svg-term-cli@2.1.1"
TALK = (
    ("ben", "Did the messages survive the restart?"),
    ("ann", "All of them. I killed the server with kill -9 in the middle of it."),
    ("ben", "And what does it cost?"),
    ("ann", "About a millisecond a message. The report has it all."),
)


async def main() -> None:
    """Create the pictures named as arguments, by default all."""
    wanted = set(sys.argv[1:]) or {"chat", "report", "locust", "demo"}
    PICTURES.mkdir(exist_ok=True)
    async with _chromium() as browser:
        if "chat" in wanted:
            await chat(browser)
        if "report" in wanted:
            await report(browser)
        if "locust" in wanted:
            await locust(browser)
    if "demo" in wanted:
        demo()


async def chat(browser: Browser) -> None:
    """Two people in a room; one of them types."""
    with chat_server("memory://") as server:
        pages = {name: await _joined(browser, server.url, name) for name in ("ann", "ben")}
        for number, (name, text) in enumerate(TALK, 1):
            await pages[name].fill("#text", text)
            await pages[name].press("#text", "Enter")
            for page in pages.values():
                await expect(page.locator(".msg .said")).to_have_count(number)
        await pages["ben"].type("#text", "Where is")
        await expect(pages["ann"].get_by_text("ben is typing")).to_be_visible()
        await _picture(pages["ann"], "chat")


async def _joined(browser: Browser, url: str, name: str) -> Page:
    context = await browser.new_context(viewport={"width": 1100, "height": 620})
    page = await context.new_page()
    await page.goto(f"{url}/chat/")
    await page.click("#tab-register")
    for field, text in (("username", name), ("email", f"{name}@example.org"), ("password", f"secret of {name}")):
        await page.fill(f"#register [name={field}]", text)
    await page.click("#register button")
    await expect(page.locator("#room-facts")).to_contain_text("here")
    return page


async def report(browser: Browser) -> None:
    """The first screen of the published run."""
    with tempfile.TemporaryDirectory() as folder:  # a copy, because git tracks the published pages
        run = shutil.copytree(ROOT / "reports/latest", Path(folder, "run"))
        write_page = [sys.executable, "-m", "chatsys", "bench", "page", str(run)]
        subprocess.run(write_page, cwd=ROOT, check=True)  # noqa: ASYNC221 - nothing else goes on
        page = await browser.new_page(viewport={"width": 1100, "height": 900})
        await page.goto((run / "index.html").as_uri())
        await _picture(page, "report")


async def locust(browser: Browser) -> None:
    """The tab with verdict and audit, after a run of 15 seconds."""
    with chat_server("memory://") as server, _locust(server.url) as address:
        page = await browser.new_page(viewport={"width": 1100, "height": 760})
        await page.goto(address)
        await page.fill("[name=userCount]", "40")
        await page.fill("[name=spawnRate]", "40")
        await page.get_by_text("Advanced options").click()
        await page.fill("[name=runTime]", "15s")
        await page.get_by_text("Custom parameters").click()
        await page.fill("[name=interval]", "2")
        await page.get_by_role("button", name="Start").click()
        await page.get_by_role("tab", name="Verdict and audit").click()
        verdict = page.locator("tr:has(td:text-is('Verdict')) td:nth-child(2)")
        await expect(verdict).to_have_text(re.compile("^(IN)?VALID$"), timeout=120_000)
        await _picture(page, "locust")


@contextmanager
def _locust(host: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        command = [sys.executable, "-m", "locust", "-f", "loadtests/chat.py", "--host", host]
        command += ["--web-host", "127.0.0.1", "--web-port", str(port), "--accounts", f"{folder}/accounts.json"]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            assert process.stderr is not None
            for line in process.stderr:
                if b"Starting web interface at" in line:
                    break
            try:
                yield f"http://127.0.0.1:{port}/"
            finally:
                process.terminate()


def demo() -> None:
    """A recording of ``chatsys demo`` in a terminal, with its pauses shortened."""
    with tempfile.TemporaryDirectory() as folder:
        cast = Path(folder, "demo.cast")
        command = f"{sys.executable} -m chatsys demo"
        environ = os.environ | {"TERM": "xterm-256color"}
        record = ["-m", "asciinema", "rec", "--quiet", "--idle-time-limit", "1.5", "--command", command]
        size = ["--cols", str(COLUMNS), "--rows", str(ROWS)]
        subprocess.run([sys.executable, *record, *size, str(cast)], cwd=folder, env=environ, check=True)
        made = ["npx", "--yes", SVG_TERM, "--in", str(cast), "--out", str(PICTURES / "demo.svg")]
        subprocess.run([*made, "--window", "--no-cursor", "--width", str(COLUMNS), "--height", str(ROWS)], check=True)


async def _picture(page: Page, name: str) -> None:
    await page.screenshot(path=PICTURES / f"{name}.png", animations="disabled")


@asynccontextmanager
async def _chromium() -> AsyncIterator[Browser]:
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        raise SystemExit("These pictures need Chromium: apt-get install chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
