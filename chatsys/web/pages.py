"""Files for a browser, each read once: the client at ``/chat/`` and the page at ``/`` (contract §11.2)."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

FOLDER = Path(__file__).parent / "client"

TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}
"""The kinds of files that are served."""

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""Nothing inline, nothing from another host, and no text becomes markup."""

HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""``no-cache``: a browser keeps a file but checks each time that it is current, so it never mixes two versions."""

START = "start.html"
"""The page at ``/``."""

router = APIRouter()


@dataclass(frozen=True, slots=True)
class Asset:
    """One file as it is sent."""

    body: bytes
    media_type: str
    etag: str


@functools.cache
def assets() -> Mapping[str, Asset]:
    """Each file that a browser may get, by its path below ``client``."""
    files = (path for path in FOLDER.rglob("*") if path.suffix in TYPES)
    return {path.relative_to(FOLDER).as_posix(): asset(path.read_bytes(), TYPES[path.suffix]) for path in files}


def asset(body: bytes, media_type: str) -> Asset:
    """A file that is sent as ``body``."""
    return Asset(body, media_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


@router.get("/chat")
async def client(request: Request) -> Response:
    """The client's page. A path without a slash at the end is redirected, because the page's links are relative."""
    if not request.scope["raw_path"].endswith(b"/"):
        return Response(status_code=308, headers={"Location": "chat/"})
    return page(request, "index.html")


@router.get("/chat/{name:path}")
async def file(request: Request, name: str) -> Response:
    """A file of the client."""
    if name not in assets():
        raise HTTPException(404)
    return page(request, name)


def page(request: Request, name: str) -> Response:
    """A file of the client, or 304 if the browser has it."""
    return sent(request, assets()[name])


def sent(request: Request, file: Asset) -> Response:
    """The file, or 304 if the browser has it."""
    headers = {**HEADERS, "ETag": file.etag}
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if known & {file.etag, "*"}:
        return Response(status_code=304, headers=headers)
    return Response(file.body, headers=headers, media_type=file.media_type)


def prefers_html(accept: str) -> bool:
    """Whether an ``Accept`` header names HTML and gives it a greater weight than JSON (RFC 9110 §12.5.1)."""
    weights: dict[str, float] = {}
    for part in accept.lower().split(","):
        kind, *options = (word.strip() for word in part.split(";"))
        weights[kind] = next((_weight(option[2:]) for option in options if option.startswith("q=")), 1.0)
    anything = weights.get("*/*", 0.0)
    json = weights.get("application/json", weights.get("application/*", anything))
    return weights.get("text/html", 0.0) > json


def _weight(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 0.0
