"""chatsys uses no private name of a library, and of uvicorn's undocumented ones those that chatsys.server lists."""

from __future__ import annotations

import ast
import hashlib
import inspect
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from pkgutil import resolve_name

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

import chatsys
from chatsys.server.http import HttpProtocol
from chatsys.server.serving import Server
from chatsys.server.uvicorn_names import ATTRIBUTES, HTTP, NAMES, SERVER

PACKAGE = Path(chatsys.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
LIBRARIES = {"engineio", "socketio", "asyncpg", "websockets", "uvicorn", "starlette", "redis", "nats", "psycopg"}

DOCUMENTED = {"_replace", "_asdict", "_fields", "_make", "_exit"}  # of named tuples and os


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in DOCUMENTED


def own_names(tree: ast.AST) -> set[str]:
    """What a module defines itself: functions, classes, variables, attributes of its objects, slots."""
    names = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)
    return names


def methods() -> set[str]:
    """The functions of all of chatsys."""
    return {
        node.name
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


METHODS = methods()


def foreign_private_names(text: str) -> Iterator[str]:
    """Private names that a module imports from one of the libraries, or uses of an object and does not define."""
    tree = ast.parse(text)
    own = own_names(tree) | METHODS
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in LIBRARIES:
            yield from (f"{node.module}.{each.name}" for each in node.names if private(each.name))
            yield from (str(node.module) for part in (node.module or "").split(".") if private(part))
        elif isinstance(node, ast.Import):
            yield from (
                each.name
                for each in node.names
                if each.name.split(".")[0] in LIBRARIES and any(map(private, each.name.split(".")))
            )
        elif isinstance(node, ast.Attribute) and private(node.attr) and node.attr not in own:
            yield f"{ast.unparse(node.value)}.{node.attr}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_module_uses_no_private_name_of_a_library(file: Path) -> None:
    assert not list(foreign_private_names(file.read_text()))


@pytest.mark.parametrize(
    "line",
    [
        "from engineio.packet import _secret",
        "from uvicorn._types import Scope",
        "import asyncpg._testbase",
        "def f(connection): connection._transport.close()",
        "class A(B):\n    def f(self): self._upgrades('x')",
    ],
)
def test_a_private_name_is_found(line: str) -> None:
    assert len(list(foreign_private_names(line))) == 1


# -- uvicorn

DIGESTS = {
    "uvicorn.protocols.http.httptools_impl.HttpToolsProtocol.__init__": "4f08999410347141",
    "uvicorn.protocols.http.httptools_impl.HttpToolsProtocol.connection_made": "6efb565ff3d36b91",
    "uvicorn.protocols.http.httptools_impl.HttpToolsProtocol.connection_lost": "c91a4c9bf2e29c55",
    "uvicorn.protocols.http.httptools_impl.HttpToolsProtocol.data_received": "010a7ae59a5d3b1a",
    "uvicorn.protocols.http.httptools_impl.HttpToolsProtocol.on_message_begin": "96d377fdc7c2baef",
    "uvicorn.protocols.http.httptools_impl.HttpToolsProtocol.on_headers_complete": "1ea8589acfad92d8",
    "uvicorn.protocols.http.httptools_impl.HttpToolsProtocol.on_message_complete": "1fbad42dc31fc01f",
    "uvicorn.protocols.http.httptools_impl.HttpToolsProtocol.send_400_response": "ae5a4a3782b646fd",
    "uvicorn.protocols.http.httptools_impl.HttpToolsProtocol.handle_websocket_upgrade": "179c4f769386ab89",
    "uvicorn.protocols.http.httptools_impl.RequestResponseCycle.receive": "8124ae006be71184",
    "uvicorn.protocols.utils.get_remote_addr": "5cb127377672c133",
    "uvicorn.protocols.utils.get_local_addr": "6be1e23931c77938",
    "uvicorn.server.Server.serve": "112ef41af52167e3",
    "uvicorn.server.Server.startup": "2aa1d70a244bfcf2",
    "uvicorn.server.Server.shutdown": "9b33c50562992b1e",
    "uvicorn.server.Server.capture_signals": "e1bbcd4770d1c887",
    "uvicorn.server.Server.handle_exit": "553276efa26e09ea",
}


def digest(name: str) -> str:
    package, _, rest = name.partition(".")
    parts = rest.split(".")
    cut = next((index for index, part in enumerate(parts) if part[0].isupper()), len(parts) - 1)
    function = resolve_name(f"{'.'.join([package, *parts[:cut]])}:{'.'.join(parts[cut:])}")
    return hashlib.sha256(inspect.getsource(inspect.unwrap(function)).encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", sorted(NAMES))
def test_what_is_used_of_uvicorn_is_unchanged(name: str) -> None:
    assert digest(name) == DIGESTS.get(name), f"uvicorn {version('uvicorn')} changed {name}"


def test_the_list_of_names_is_what_is_used() -> None:
    assert set(DIGESTS) == set(NAMES)
    for ours, theirs, prefix in ((HttpProtocol, HttpToolsProtocol, HTTP), (Server, uvicorn.Server, SERVER)):
        replaced = {name for name in vars(ours) if name in vars(theirs) and not name.startswith("__")}
        assert {f"{prefix}.{name}" for name in replaced} <= set(NAMES)
    tree = ast.parse((PACKAGE / "server" / "http.py").read_text())
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert {name.rpartition(".")[2] for name in ATTRIBUTES} <= used
    theirs = own_names(ast.parse(inspect.getsource(HttpToolsProtocol)))
    assert _self_attributes(tree, "HttpProtocol") & theirs <= {
        name.rpartition(".")[2] for name in (*NAMES, *ATTRIBUTES)
    }


def _self_attributes(tree: ast.AST, name: str) -> set[str]:
    (kind,) = (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == name)
    return {
        node.attr
        for node in ast.walk(kind)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
    }
