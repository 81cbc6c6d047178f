"""The layers of the house, and what every file of it owes its reader."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TRACKED = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
).stdout.split("\0")
FILES = [name for name in TRACKED if name and (ROOT / name).is_file()]
MODULES = [name for name in FILES if name.endswith(".py") and name.startswith(("chatsys/", "loadtests/"))]
PROSE = [
    name for name in FILES if name.endswith((".py", ".md", ".sql", ".toml", ".yml", ".ipynb")) or name == "Makefile"
]

UNFINISHED = ("TO" + "DO", "FIX" + "ME", "X" + "XX", "NotImplemented" + "Error")
MACHINE = re.compile(r"(?<![\w.~])/(?:work|root|home/\w+|tmp/\w+)/")


def test_imports_point_one_way_only():
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is_for(name):
    tree = ast.parse((ROOT / name).read_text())
    assert (ast.get_docstring(tree) or "").strip(), f"{name} has no docstring"


@pytest.mark.parametrize("name", MODULES)
def test_every_public_class_and_function_says_what_it_does(name):
    tree = ast.parse((ROOT / name).read_text())
    kinds = ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
    bare = [
        node.name for node in tree.body if isinstance(node, kinds) and public(node.name) and not ast.get_docstring(node)
    ]
    assert not bare


@pytest.mark.parametrize("name", PROSE)
def test_nothing_is_left_unfinished_and_no_machine_is_named(name):
    text = (ROOT / name).read_text()
    assert not [word for word in UNFINISHED if re.search(rf"\b{word}\b", text)]
    assert not MACHINE.findall(text)


@pytest.mark.parametrize("name", [name for name in PROSE if name.endswith((".md", ".py"))])
def test_no_emoji_decorates_the_prose(name):
    text = (ROOT / name).read_text()
    assert not re.findall("[\u2600-\u27bf\U0001f300-\U0001faff]", text.replace("\u2713", ""))


@pytest.mark.parametrize("name", MODULES)
def test_no_error_is_swallowed_without_a_word(name):
    tree = ast.parse((ROOT / name).read_text())
    handlers = [node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler)]
    wide = [node.lineno for node in handlers if node.type is None and isinstance(node.body[0], ast.Pass)]
    silent = [node.lineno for node in handlers if named(node) == "Exception" and isinstance(node.body[0], ast.Pass)]
    assert not wide + silent


def public(name: str) -> bool:
    return not name.startswith("_")


def named(handler: ast.ExceptHandler) -> str:
    return handler.type.id if isinstance(handler.type, ast.Name) else ""
