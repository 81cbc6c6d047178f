"""chatsys uses no private name of a library, except the names that it lists for uvicorn and Locust."""

from __future__ import annotations

import ast
import hashlib
import inspect
from collections.abc import Iterator
from importlib.metadata import files, version
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
LIBRARIES = {
    "engineio",
    "socketio",
    "asyncpg",
    "websockets",
    "uvicorn",
    "starlette",
    "redis",
    "nats",
    "psycopg",
    "locust",
}

DOCUMENTED = {"_replace", "_asdict", "_fields", "_make", "_exit"}  # of named tuples and os; they are documented


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in DOCUMENTED


def own_names(tree: ast.AST) -> set[str]:
    """Return what a module defines itself: functions, classes, variables, attributes of its objects, slots."""
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
    """Return the functions of all of chatsys."""
    return {
        node.name
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


METHODS = methods()


def foreign_private_names(text: str) -> Iterator[str]:
    """Return private names that a module imports from a library, or uses on an object without defining them."""
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
def test_module_uses_no_private_name_of_a_library(file: Path) -> None:
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
def test_private_name_is_detected(line: str) -> None:
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
def test_uvicorn_code_behind_the_listed_names_is_unchanged(name: str) -> None:
    assert digest(name) == DIGESTS.get(name), f"uvicorn {version('uvicorn')} changed {name}"


def test_list_of_uvicorn_names_matches_their_use() -> None:
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


# -- Locust

LOCUST = PACKAGE / "loadtesting" / "locust_names.py"
LOCUST_DIGESTS = {
    "bucket_response_time": "24a169d73d879521",
    "calculate_response_time_percentile": "3fb52dcc66672582",
    "update_stats_history": "bd105ceab1e7a8cf",
    "StatsEntry.log": "b11d22113dd52e39",
    "StatsEntry.extend": "8beda028a3c15529",
    "StatsEntry.serialize": "0ec10d2700ff7758",
    "StatsEntry.get_current_response_time_percentile": "1aeb4885dc5c334e",
    "StatsEntry.to_string": "23868690d1d12ef5",
    "StatsEntry.percentile": "f92edbfa197dc906",
    "StatsEntry.to_dict": "4dfce1ec00956a38",
    "StatsCSV._requests_data_rows": "ed82d20410a5d2ef",
    "StatsCSV._percentile_fields": "80a98540443c1899",
}


def replaced_in_locust() -> dict[str, str]:
    """Return the table, read without Locust, which patches the interpreter when it is imported."""
    for node in ast.parse(LOCUST.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "REPLACED":
            return ast.literal_eval(node.value)
    raise AssertionError("no table")


def locust_digests() -> dict[str, str]:
    """Return the digest of each function of ``locust.stats`` by its name there."""
    (source,) = (file for file in files("locust") or () if str(file) == "locust/stats.py")
    text = Path(str(source.locate())).read_text()
    found = {}
    for node in ast.parse(text).body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        for each in inner:
            if isinstance(each, ast.FunctionDef):
                name = f"{node.name}.{each.name}" if isinstance(node, ast.ClassDef) else each.name
                code = ast.get_source_segment(text, each)
                found[name] = hashlib.sha256(code.encode()).hexdigest()[:16]
    return found


def test_replaced_locust_code_is_unchanged_and_has_a_reason() -> None:
    reasons, now = replaced_in_locust(), locust_digests()
    assert all(reasons.values())
    assert {name: now.get(name) for name in reasons} == LOCUST_DIGESTS, f"Locust {version('locust')} changed it"


@pytest.mark.parametrize("file", sorted((PACKAGE / "loadtesting").glob("*.py")), ids=lambda file: file.name)
def test_only_one_module_replaces_names_of_locust(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text())):
        targets = node.targets if isinstance(node, ast.Assign) else []
        for target in targets:
            owner = ast.unparse(target.value) if isinstance(target, ast.Attribute) else ""
            assert not owner.startswith(("locust", "StatsEntry", "StatsCSV", "RequestStats")), ast.unparse(node)


def test_each_listed_replacement_is_made() -> None:
    made = set[str]()
    for file in (PACKAGE / "loadtesting").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "replace" and len(node.args) == 2:
                made.add(ast.literal_eval(node.args[0]))
    assert made == set(replaced_in_locust())
