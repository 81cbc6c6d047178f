"""The error tree: its drawing matches the classes, and each class has its own code."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from chatsys import errors
from chatsys.errors import ChatsysError
from chatsys.web.responses import status_of

CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, ChatsysError)]


def drawn() -> list[tuple[int, str, str]]:
    """Return depth, class name and code of each line of the tree in the module's docstring."""
    lines = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^    ([│├└─ ]*)([A-Z]\w+)(?: +([a-z_]+)\b)?", line)
        if found:
            lines.append((len(found[1]) // 4, found[2], found[3] or ""))
    return lines


def test_error_docstring_draws_the_real_inheritance():
    parents: list[str] = []
    tree = {}
    for depth, name, _ in drawn():
        del parents[depth:]
        tree[name] = parents[-1] if parents else "Exception"
        parents.append(name)
    assert tree == {kind.__name__: kind.__bases__[0].__name__ for kind in CLASSES}


def test_error_docstring_names_the_real_codes():
    by_name = {kind.__name__: kind.code for kind in CLASSES}
    for _, name, code in drawn():
        assert code == by_name[name]


def test_error_codes_are_unique_plain_words():
    codes = [kind.code for kind in CLASSES]
    assert len(codes) == len(set(codes))
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)
    assert all("code" in vars(kind) for kind in CLASSES)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_error_class_docstring_is_its_message(kind):
    assert vars(kind)["__doc__"]
    if "__init__" not in vars(kind):
        assert kind().message == str(kind()) == kind.__doc__.strip()
        assert kind(message="other words").message == "other words"


def test_errors_import_nothing_of_chatsys():
    assert "import chatsys" not in inspect.getsource(errors)
    assert "from chatsys" not in inspect.getsource(errors)


def documented() -> dict[str, list[str]]:
    """Return the rows of docs/ERRORS.md by code: HTTP, acknowledgement, client, log, operator."""
    page = (Path(__file__).parents[2] / "docs" / "ERRORS.md").read_text()
    rows = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in re.findall(r"^\| `.*\|$", page, re.M)]
    assert len({row[0] for row in rows}) == len(rows)
    return {row[0].strip("`"): row[1:] for row in rows}


def test_errors_page_has_one_line_per_error_and_no_other():
    assert set(documented()) == {kind.code for kind in CLASSES}


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_errors_page_says_what_a_client_sees(kind):
    status, ack, client, log, operator = documented()[kind.code]
    assert log
    if status == ack == "–":
        assert not client
        assert operator
        return
    error = kind.__new__(kind)
    assert int(status) == status_of(error)
    assert ack == f"`{'store_unavailable' if issubclass(kind, errors.StoreError) else kind.code}`"
    assert client
    assert operator or status not in {"500", "503"} or issubclass(kind, errors.JoinRefused | errors.NoSession)
