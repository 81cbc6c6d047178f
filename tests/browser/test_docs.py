"""The page at ``/docs`` shows both documents without the Internet, and sends requests."""

from __future__ import annotations

import json

import pytest
from playwright.async_api import expect

from tests.flow.serving import Served

from .conftest import Meet


@pytest.mark.parametrize("options", [{}, {"color_scheme": "dark"}, {"width": 360}], ids=["wide", "dark", "narrow"])
async def test_docs_page_shows_every_endpoint_and_event(served: Served, meet: Meet, options: dict[str, object]) -> None:
    reader = await meet(served.url, **options)
    await reader.page.goto(f"{served.url}/docs")
    for name in ("#register", "#listMessages", "#event-join", "#event-receive-message", "#type-MessageObject"):
        await expect(reader.at(name)).to_be_visible()
    await reader.page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")
    await expect(reader.at("#event-join")).to_contain_text("guest-k3j2h1g0f")
    await expect(reader.at("#login")).to_contain_text("Too many failed login attempts")
    await reader.check_accessibility()
    assert await reader.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_docs_page_sends_requests(served: Served, meet: Meet) -> None:
    reader = await meet(served.url)
    await reader.page.goto(f"{served.url}/docs#register")

    async def send(name: str, **fields: str) -> str:
        row = reader.at(f"#{name}")
        await reader.page.evaluate("name => { document.getElementById(name).open = true }", name)
        await row.get_by_text("Try it").click()
        for field, value in fields.items():
            await row.locator(f"[name={field}]").fill(value)
        await row.get_by_role("button", name="Send").click()
        await expect(row.get_by_role("status")).to_contain_text("success")
        return await row.get_by_role("status").inner_text()

    await expect(reader.at("#register")).to_have_attribute("open", "")
    registered = await send("register")
    assert registered.startswith("201\n")
    await reader.at("#token").fill(json.loads(registered.partition("\n")[2])["token"])
    assert (await send("verify")).startswith("200\n")
    assert '"query": "a%/ä"' in await send("searchUsers", query="a%/ä")
    assert '"limit": 7' in await send("listMessages", room="general", limit="7")
