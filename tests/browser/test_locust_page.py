"""Locust's page in a real browser: our options in its form, and verdict and audit in a tab and in the report."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from tests.conftest import free_port
from tests.flow.serving import Served

from .conftest import PATIENCE

ROOT = Path(__file__).parents[2]
AUDITED = 120_000
"""Milliseconds for a run of eight seconds and its audit."""


@pytest.fixture
def locust(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of Locust's page, started as a user starts it."""
    port, master = free_port(), str(free_port())
    command = [sys.executable, "-m", "locust", "-f", "loadtests/chat.py", "--web-host", "127.0.0.1"]
    command += ["--web-port", str(port), "--out", str(tmp_path), "--accounts", str(tmp_path / "accounts.json")]
    if (processes := getattr(request, "param", 1)) > 1:
        command += ["--processes", str(processes), "--master-bind-port", master, "--master-port", master]
    process = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | {"NO_COLOR": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if b"Starting web interface at" in line:
                break
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.communicate(timeout=60)


async def open_page(browser: Browser, address: str) -> Page:
    page = await browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(PATIENCE)
    await page.goto(address)
    return page


@pytest.mark.parametrize("locust", [1, 2], indirect=True, ids=["one process", "two processes"])
async def test_run_is_started_from_the_form_and_its_verdict_shown_in_a_tab(
    browser: Browser, locust: str, served: Served
) -> None:
    page = await open_page(browser, locust)
    await page.locator("[name=userCount]").fill("10")
    await page.locator("[name=spawnRate]").fill("100")
    await page.locator("[name=host]").fill(served.url)
    await page.get_by_text("Advanced options").click()
    await page.locator("[name=runTime]").fill("8s")
    await page.get_by_text("Custom parameters").click()
    await page.locator("[name=scenario]").select_option("steady")
    await page.locator("[name=interval]").fill("0.5")
    await expect(page.get_by_text("How many users, where, and who writes").first).to_be_visible()
    await page.get_by_role("button", name="Start").click()
    await page.get_by_role("tab", name="Verdict and audit").click()

    def row(what: str) -> str:
        return f"tr:has(td:text-is('{what}')) td:nth-child(2)"

    await expect(page.locator(row("Verdict"))).to_have_text("at the end of the run, after the audit")
    await expect(page.locator(row("Pushes timed so far"))).to_contain_text("p99")
    # On a busy machine the generator is late and the run is INVALID; everything received is complete anyway.
    await expect(page.locator(row("Verdict"))).to_have_text(re.compile("^(IN)?VALID$"), timeout=AUDITED)
    for fault in ("dropped", "doubled", "swapped", "not stored", "not acknowledged", "gaps"):
        await expect(page.locator(row(fault))).to_have_text("0")
    delivered = await page.locator(row("delivered")).inner_text()
    assert int(delivered) > 0
    await expect(page.locator(row("expected"))).to_have_text(delivered)
    verdict = await page.locator(row("Verdict")).inner_text()

    await page.goto(f"{locust}stats/report")
    section = page.locator("#chatsys")
    await expect(section.get_by_role("heading")).to_have_text("Verdict and audit")
    await expect(section.locator("tr", has_text="Verdict").first).to_contain_text(verdict)


async def test_form_offers_every_option_with_its_help_and_choices(browser: Browser, locust: str) -> None:
    page = await open_page(browser, locust)
    await page.get_by_text("Custom parameters").click()
    for name in ("accounts", "dialect", "interval", "objective", "out", "receipts", "roomSize", "seed"):
        await expect(page.locator(f"input[name={name}]")).to_be_visible()
    for name, choice in (
        ("scenario", "capacity"),
        ("arrival", "poisson"),
        ("roomSizes", "equal"),
        ("transport", "polling"),
    ):
        await expect(page.locator(f"select[name={name}]")).to_contain_text(choice)
    unexplained = await page.locator("label").evaluate_all(
        "labels => labels.filter(each => !each.innerText.includes('(')).map(each => each.innerText)"
    )
    assert [text for text in unexplained if not re.match("Number of users|Ramp up|Host|Run time|Profile|$", text)] == []
