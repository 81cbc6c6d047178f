"""The documentation's site, opened from a folder, is accessible and loads nothing from another host."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.async_api import Browser

from .conftest import AXE, PATIENCE

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("index", "TUTORIAL", "ARCHITECTURE", "CLI", "RELIABILITY", "API")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built pages."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, check=True)
    return folder


@pytest.mark.process
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_site_pages_are_accessible_and_load_nothing_from_other_hosts(
    browser: Browser, site: Path, scheme: str
) -> None:
    assert AXE.is_file(), "install the JavaScript packages: npm ci --prefix tests/flow/node"
    context = await browser.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE)
    page = await context.new_page()
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    for name in PAGES:
        await page.goto((site / f"{name}.html").as_uri())
        await page.evaluate(AXE.read_text())
        found = await page.evaluate("async () => (await axe.run()).violations")
        serious = [
            (one["id"], [node["html"][:120] for node in one["nodes"][:3]])
            for one in found
            if one["impact"] in {"serious", "critical"}
        ]
        assert serious == [], name
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
    assert [url for url in requested if not url.startswith(("file:", "data:", "blob:"))] == []
    await context.close()
