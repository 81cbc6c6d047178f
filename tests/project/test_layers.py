"""The layers of the packages, and the rules for every file."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("chatsys", "loadtests", "database", "docs", "notebooks", "tests", ".ci", ".github")
ENDINGS = {".py", ".md", ".sql", ".toml", ".yml", ".ipynb", ".js", ".txt", ".ini", ".mako"}
FILES = [
    path
    for paths in (ROOT.iterdir(), *((ROOT / folder).rglob("*") for folder in FOLDERS))
    for path in paths
    if path.is_file() and (path.suffix in ENDINGS or path.name == "Makefile") and "node_modules" not in path.parts
]
MODULES = {
    path: ast.parse(path.read_text())
    for path in FILES
    if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in {"chatsys", "loadtests"}
}

UNFINISHED = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|X" r"XX|NotImplemented" r"Error)\b")
MACHINE = re.compile(r"(?<![\w.~])/(?:work|root|home/\w+|tmp/\w+)/")
EMOJI = re.compile("[\u2600-\u2712\u2718-\u27bf\U0001f300-\U0001faff]")  # the ticks of tables lie between the ranges


@pytest.mark.process
def test_imports_point_in_one_direction_only():
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def imported_by(path: Path, names: dict[str, Path]) -> set[Path]:
    """Return the modules of this project that a file imports anywhere."""
    found: set[Path] = set()
    for node in ast.walk(MODULES[path]):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            wanted = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {names.get(each) or names[node.module] for each in wanted if each in names or node.module in names}
        elif isinstance(node, ast.Import):
            found |= {names[alias.name] for alias in node.names if alias.name in names}
    return found


def test_no_module_imports_itself_through_others():
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in MODULES}
    imports = {path: imported_by(path, names) for path in MODULES}
    while leaves := [path for path, others in imports.items() if not others & imports.keys()]:
        for path in leaves:
            del imports[path]
    in_a_cycle = {path for path in imports if any(path in others for others in imports.values())}
    assert not in_a_cycle


def test_every_module_says_what_it_is_for():
    assert not [str(path) for path, tree in MODULES.items() if not ast.get_docstring(tree)]


def quotes_the_protocol(node: ast.AST) -> bool:
    """Return whether a function is a conformance check, whose decorator holds the sentence that it proves."""
    calls = [each.func for each in getattr(node, "decorator_list", []) if isinstance(each, ast.Call)]
    return any(isinstance(each, ast.Name) and each.id == "check" for each in calls)


def test_every_public_class_and_function_says_what_it_does():
    kinds = ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
    bare = [
        f"{path}: {node.name}"
        for path, tree in MODULES.items()
        for node in tree.body
        if isinstance(node, kinds) and not node.name.startswith("_") and not ast.get_docstring(node)
        if not quotes_the_protocol(node)
    ]
    assert not bare


def test_nothing_is_left_unfinished():
    assert not found(UNFINISHED)


def test_no_file_names_a_path_of_one_machine():
    assert not found(MACHINE)


def test_no_emoji_decorates_code_or_prose():
    prose = [path for path in FILES if path.suffix == ".md"]
    assert not found(EMOJI, [*prose, *MODULES])


def test_no_error_is_swallowed():
    wide = [
        f"{path}:{node.lineno}"
        for path, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and catches_all(node) and isinstance(node.body[0], ast.Pass)
    ]
    assert not wide


def found(pattern: re.Pattern[str], paths: Iterable[Path] = FILES) -> list[str]:
    """Return each place in the files where the pattern matches."""
    return [f"{path}: {hit}" for path in paths for hit in pattern.findall(path.read_text(errors="replace"))]


def catches_all(handler: ast.ExceptHandler) -> bool:
    kind = handler.type
    return kind is None or (isinstance(kind, ast.Name) and kind.id in {"Exception", "BaseException"})
