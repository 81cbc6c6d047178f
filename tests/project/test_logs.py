"""Log lines, for people or as JSON, each with its request or socket."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from chatsys import logs

RECORD = logging.LogRecord("chatsys.web", logging.WARNING, "file", 1, "%s is\naway", ("it",), None)


@pytest.fixture(autouse=True)
def _same_moment(monkeypatch):
    monkeypatch.setattr(RECORD, "created", 1_900_000_000.25)


def test_text_log_line_names_its_request_or_socket():
    with logs.about(request="ab12"):
        assert logs.TextFormatter().format(RECORD) == (
            "2030-03-17T17:46:40.250+00:00 WARNING chatsys.web [request=ab12] it is\naway"
        )
    assert "[" not in logs.TextFormatter().format(RECORD)


def test_json_log_line_is_one_object_on_one_line():
    with logs.about(socket="s1"):
        line = logs.JsonFormatter().format(RECORD)
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2030-03-17T17:46:40.250+00:00",
        "level": "WARNING",
        "logger": "chatsys.web",
        "message": "it is\naway",
        "socket": "s1",
    }


@pytest.mark.parametrize("formatter", [logs.TextFormatter(), logs.JsonFormatter()])
def test_exception_is_logged_with_its_traceback(formatter):
    try:
        raise ValueError("the cause")
    except ValueError as error:
        exc_info = (ValueError, error, error.__traceback__)
    record = logging.LogRecord("chatsys", logging.ERROR, "file", 1, "failed", (), exc_info)
    assert "ValueError: the cause" in formatter.format(record)


async def test_log_context_holds_for_one_task_only():
    async def marked():
        logs.mark(socket="s1")
        return logs.TextFormatter().format(RECORD)

    assert "[socket=s1]" in await asyncio.create_task(marked())
    assert "[" not in logs.TextFormatter().format(RECORD)
