"""The web client's files, and the page at ``/`` that browsers get instead of JSON (contract §11.2)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chatsys.web.pages import FOLDER, POLICY, assets, prefers_html
from tests.web.conftest import without_store

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
OURS = sorted(
    path for path in FOLDER.rglob("*") if path.suffix in {".html", ".css", ".js"} and "vendor" not in path.parts
)
NODE = Path(__file__).parents[1] / "flow" / "node" / "node_modules"


@without_store
@pytest.mark.parametrize(
    ("accept", "html"),
    [
        (BROWSER, True),
        ("text/html", True),
        ("TEXT/HTML; q=0.5", True),
        ("text/html;q=0.5, application/json;q=0.4", True),
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("application/json, text/html;q=0.9", False),
        ("text/html, application/json", False),
        ("text/html;q=0", False),
        ("text/html;q=0.8, */*", False),
        ("text/html;q=none", False),
        (";;,=;q", False),
    ],
)
async def test_root_gives_html_to_clients_that_prefer_it(client, accept, html):
    assert prefers_html(accept) is html
    answer = await client.get("/", headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html" if html else "application/json")


@without_store
async def test_root_for_programs_has_no_other_headers_than_before(client):
    answer = await client.get("/")
    assert set(answer.headers) == {"content-length", "content-type", "access-control-allow-origin"}
    assert set(answer.json()) == {"success", "message", "version", "documentation", "stats", "endpoints"}


@without_store
@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_links_of_the_pages_above_the_client_work(client, path):
    page = (await client.get(path, headers={"Accept": BROWSER})).text
    assert page
    for link in re.findall(r'(?:href|src)="([^"]+)"', page):
        assert (await client.get(f"/{link}")).status_code == 200, link


@without_store
async def test_client_path_without_a_slash_redirects_to_the_one_with_it(client):
    answer = await client.get("/chat")
    assert (answer.status_code, answer.headers["location"]) == (308, "chat/")  # also under a proxy's path prefix
    assert (await client.get("/chat/")).status_code == 200


@without_store
async def test_api_page_path_with_a_slash_redirects_to_the_one_without(client):
    answer = await client.get("/docs/")
    assert (answer.status_code, answer.headers["location"]) == (308, "../docs")
    assert "docs.js" in (await client.get("/docs")).text


@without_store
@pytest.mark.parametrize(
    "path",
    ["/chat/", "/docs", "/openapi.json", "/asyncapi.json", "/chat/js/main.js", "/chat/style.css", "/chat/icon.svg"],
)
async def test_client_file_has_its_headers_and_is_sent_once(client, path):
    answer = await client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"
    again = await client.get(path, headers={"If-None-Match": f'"other", W/{answer.headers["etag"]}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", answer.headers["etag"])
    changed = await client.get(path, headers={"If-None-Match": '"other"'})
    assert (changed.status_code, changed.content) == (200, answer.content)
    head = await client.head(path)
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", answer.headers["etag"])


@without_store
@pytest.mark.parametrize(
    "path",
    ["/chat/nothing.js", "/chat/../pages.py", "/chat/%2e%2e/pages.py", "/chat/package.json", "/chat/js", "/chat//"],
)
async def test_path_that_is_no_file_of_the_client_gives_404(client, path):
    answer = await client.get(path)
    assert answer.status_code == 404
    assert answer.json()["success"] is False


def test_every_import_and_link_of_the_client_is_served():
    for path in OURS:
        text = path.read_text()
        for link in re.findall(r'(?:from |href=|src=)"([^"#]+)"', text):
            if path.name in {"start.html", "docs.html"}:  # these files are above the client
                continue
            target = (path.parent / link).resolve().relative_to(FOLDER).as_posix()
            assert target in assets(), f"{path.name} asks for {link}"


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_client_parses_no_markup_and_names_no_other_host(path):
    text = path.read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\(", text)
    assert not re.search(r"https?://", text.replace("http://www.w3.org/2000/svg", ""))
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", text) or path.suffix == ".js"


@pytest.mark.process
def test_socket_io_client_is_the_released_file():
    released = NODE / "socket.io-client"
    assert released.is_dir(), "install the JavaScript packages: npm ci --prefix tests/flow/node"
    advice = "copy dist/socket.io.esm.min.js and LICENSE of tests/flow/node/node_modules/socket.io-client to vendor/"
    assert (FOLDER / "vendor/socket.io.esm.min.js").read_bytes() == (
        released / "dist/socket.io.esm.min.js"
    ).read_bytes(), advice
    assert (FOLDER / "vendor/LICENSE.txt").read_bytes() == (released / "LICENSE").read_bytes(), advice
