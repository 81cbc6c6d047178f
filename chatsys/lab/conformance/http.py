"""HTTP requests that record what was sent and received."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import aiohttp
from yarl import URL

from chatsys.lab.conformance.shapes import SOME_TEXT, TEXTS, CheckFailed, conform, cut, same, short

PATIENCE = 30.0
"""Seconds until a request counts as not answered."""

RETRIES = 5
"""Maximum number of retries of a request that a busy server refuses with 503 and ``Retry-After``."""

MAX_BYTES = 16_000_000
"""Maximum number of bytes read from an answer."""

_NOTHING = object()


class Answer:
    """One HTTP answer. ``body`` is its JSON object."""

    def __init__(self, request: str, status: int, headers: Mapping[str, str], content: bytes) -> None:
        self.request = request
        self.status = status
        self.headers = headers
        self.content = content

    @property
    def text(self) -> str:
        """The body as text."""
        return self.content.decode("utf-8", "replace")

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object. Raises CheckFailed if the body is something else."""
        try:
            value = json.loads(self.content)
        except ValueError:
            raise CheckFailed(
                f"{self.request} answered {self.status} with {short(self.text)}, which is not JSON"
            ) from None
        if not isinstance(value, dict):
            raise CheckFailed(f"{self.request} answered {self.status} with {short(value)}, which is not an object")
        return value

    def is_status(self, *statuses: int) -> Answer:
        """Return this answer. Raises CheckFailed if it has another status."""
        if self.status not in statuses:
            expected = " or ".join(map(str, statuses))
            raise CheckFailed(f"{self.request} answered {self.status}, expected {expected}")
        return self

    def succeeds(self, shape: Mapping[str, Any], status: int = 200) -> dict[str, Any]:
        """The body. Raises CheckFailed unless it has this status, ``success`` true and the keys of ``shape``."""
        self.is_status(status)
        conform(self.body, {"success": True, **shape})
        return self.body

    def fails(self, status: int, message: str | None = None, *errors: str) -> Answer:
        """Return this answer. Raises CheckFailed unless it is an error with this status and, if given, ``errors``."""
        self.is_status(status)
        shape: dict[str, Any] = {"success": False, "message": SOME_TEXT if message is None else message}
        if message == "Validation failed":
            shape["errors"] = TEXTS
        conform(self.body, shape)
        if errors:
            same(self.body["errors"], list(errors), "errors")
        return self

    def never_500(self) -> Answer:
        """Return this answer. Raises CheckFailed for a status in the 500s."""
        if self.status >= 500:
            raise CheckFailed(f"{self.request} answered {self.status}")
        return self


class Http:
    """One check's requests to a server."""

    def __init__(self, url: str, trace: list[str]) -> None:
        self._url = url
        self._trace = trace
        # a new connection for each request, so that no check depends on an earlier one
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=16, force_close=True),
            timeout=aiohttp.ClientTimeout(total=PATIENCE),
            skip_auto_headers=("Content-Type",),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        fields: Any = _NOTHING,
        *,
        token: str | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send ``fields`` as JSON, or ``content`` unchanged. ``path`` must already be percent-encoded.

        A request that a busy server refuses (§1.12) is retried at most ``RETRIES`` times. Raises CheckFailed if the
        server does not answer.
        """
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if fields is not _NOTHING:
            content = json.dumps(fields).encode()
            sent.setdefault("Content-Type", "application/json")
        answer = await self._sent(method, path, content, sent)
        for _ in range(RETRIES):
            after = answer.headers.get("Retry-After", "")
            if answer.status != 503 or not after.isdigit():
                break
            await asyncio.sleep(min(int(after), PATIENCE))
            answer = await self._sent(method, path, content, sent)
        return answer

    async def _sent(self, method: str, path: str, content: bytes | None, headers: Mapping[str, str]) -> Answer:
        request = f"{method} {path}"
        shown = [request, *(f"{name}: {value}" for name, value in headers.items() if value != "application/json")]
        shown += [content.decode("utf-8", "replace")] if content else []
        self._trace.append(cut(f"> {' '.join(shown)}"))
        url = URL(self._url + path, encoded=True)
        try:
            async with self._session.request(
                method, url, data=content, headers=headers, allow_redirects=False
            ) as answer:
                body = await answer.content.read(MAX_BYTES)
                while len(body) < MAX_BYTES and (more := await answer.content.read(MAX_BYTES - len(body))):
                    body += more
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise CheckFailed(f"{request} was not answered: {error or type(error).__name__}") from None
        self._trace.append(cut(f"< {answer.status} {body.decode('utf-8', 'replace')}"))
        return Answer(request, answer.status, answer.headers, body)

    async def get(self, path: str, **options: Any) -> Answer:
        """A GET request."""
        return await self.request("GET", path, **options)

    async def post(self, path: str, fields: Any = _NOTHING, **options: Any) -> Answer:
        """A POST request."""
        return await self.request("POST", path, fields, **options)
