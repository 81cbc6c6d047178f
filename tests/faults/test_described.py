"""Requests generated from ``/openapi.json``: chatsys answers as described, and a server that does not is detected."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from chatsys.lab.faults import described
from chatsys.web import openapi
from tests.flow.conftest import running_server

CASES = 120


@pytest.mark.process
def test_chatsys_answers_as_its_document_describes(tmp_path: Path) -> None:
    with running_server("memory://", tmp_path) as server:
        assert described.send(server.url, CASES, 1) == 0


class Liar(BaseHTTPRequestHandler):
    """Serves the document and creates accounts, but answers all other requests against its document."""

    def do_GET(self) -> None:
        answer = openapi.document() if self.path == "/openapi.json" else {"success": True, "token": "a.b.c", "more": 1}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - as the base class names them

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def liar() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Liar) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.slow
def test_server_that_breaks_its_document_is_detected(liar: str) -> None:
    assert described.send(liar, CASES, 1) > CASES / 4
