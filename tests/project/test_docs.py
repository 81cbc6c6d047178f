"""The documentation names every command, endpoint and target, and its links work."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

from chatsys.cli import app
from chatsys.web import reference
from docs.tools import architecture, metrics

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_readme_names_every_command():
    readme = (ROOT / "README.md").read_text()
    commands = list(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    assert "serve" in commands
    assert [name for name in commands if f"| `chatsys {name}` |" not in readme] == []


def test_readme_links_to_every_page():
    readme = (ROOT / "README.md").read_text()
    assert [page.name for page in PAGES[2:] if f"(docs/{page.name})" not in readme] == []


def test_every_command_has_a_help_text():
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert [name for name, command in commands.items() if not command.help] == []


def test_api_page_is_generated_from_the_source():
    assert (ROOT / "docs" / "API.md").read_text() == reference.markdown(), "run `make docs`"


def test_api_page_links_to_its_types():
    page = (ROOT / "docs" / "API.md").read_text()
    headings = {heading.lower() for heading in re.findall(r"^### (\w+)$", page, re.MULTILINE)}
    linked = set(re.findall(r"\]\(#(\w+)\)", page))
    assert "problem" in linked <= headings


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_work(page):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_named_in_the_pages_exist(page):
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", page.read_text(), re.DOTALL))
    named = set(re.findall(r"(?:`|\n)chatsys ([a-z]+)", code))
    assert named <= set(commands)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_files_named_in_the_pages_exist(page):
    """A path in code quotes starts at the top of the repository, or at ``chatsys`` for a module of a package."""
    named = set(re.findall(r"`((?:\w+|\.ci|\.github)/[\w./-]+)`", page.read_text()))
    packages = {folder.name for folder in (ROOT / "chatsys").iterdir() if folder.is_dir()}
    tops = {folder.name for folder in ROOT.iterdir() if folder.is_dir()}
    missing = [
        name
        for name in named
        if name.split("/")[0] in tops | packages
        and not any((top / name.rstrip("/")).exists() for top in (ROOT, ROOT / "chatsys"))
    ]
    assert [name for name in missing if not name.startswith(("reports/runs", "reports/index.html"))] == []


def test_make_targets_named_in_the_pages_exist():
    targets = set(re.findall(r"^([a-zA-Z.]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"(?:`|^|\n)make ([a-z.]+)", page.read_text())}
    assert {"bench", "test"} <= named <= targets


def test_cli_page_has_each_command_with_each_of_its_options():
    """The comparison is not word by word, since another version of the library wraps help differently."""
    page = (ROOT / "docs" / "CLI.md").read_text()
    sections = dict(re.findall(r"^## chatsys ?(.*?)\n\n```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    known = dict(_leaves(typer.main.get_command(app), ""))
    assert sections.keys() == known.keys(), "run `make docs`"
    for words, options in known.items():
        assert {option for option in options if option not in sections[words]} == set(), f"{words}: run `make docs`"


def _leaves(command, words):
    """Return the words after ``chatsys`` of a command and all commands below it, with the names of their options."""
    yield words, {name for one in command.params for name in one.opts if name.startswith("--")} - {"--help"}
    for name, below in getattr(command, "commands", {}).items():
        yield from _leaves(below, f"{words} {name}".strip())


@pytest.mark.process
def test_result_files_page_is_generated_from_the_source():
    """This runs in a separate program because it imports Locust, which patches the interpreter."""
    command = [sys.executable, "-m", "docs.tools.result_files"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert (ROOT / "docs" / "RESULT_FILES.md").read_text() == done.stdout, "run `make docs`"


def test_metrics_page_and_dashboard_are_generated_from_the_source():
    assert metrics.PAGE.read_text() == metrics.markdown(), "run `make docs`"
    assert json.loads(metrics.DASHBOARD.read_text()) == metrics.dashboard(), "run `make docs`"


def test_alerts_and_dashboard_use_metrics_that_a_server_has():
    (group,) = yaml.safe_load(metrics.RULES.read_text())["groups"]
    assert [rule["alert"] for rule in group["rules"]] == list(metrics.ALERTS)
    expressions = [rule["expr"] for rule in group["rules"]]
    expressions += [expression for panel in metrics.PANELS for expression in panel.lines.values()]
    named = {name for expression in expressions for name in re.findall(r"chatsys_\w+", expression)}
    assert len(named) > 10
    assert named <= metrics.exported()


def test_architecture_page_and_picture_are_generated_from_the_imports():
    edges = architecture.imports()
    page = architecture.PAGE.read_text()
    assert page == architecture.page(page, edges), "run `make docs`"
    assert architecture.PICTURE.read_text() == architecture.picture(edges), "run `make docs`"
    assert {name for row in architecture.layers() for name in row} == architecture.ABOUT.keys()


@pytest.mark.process
def test_site_builds_without_a_warning_and_loads_no_other_host(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environ = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    built = {page.name for page in tmp_path.glob("*.html")}
    assert {page.with_suffix(".html").name for page in PAGES[2:]} <= built
    for page in tmp_path.rglob("*.html"):
        text = page.read_text()
        assert re.findall(r"<(?:script|img|iframe)[^>]+src=[\"']?(?:https?:)?//", text) == [], page.name
        assert re.findall(r"<link[^>]+href=[\"']?(?:https?:)?//(?!127\.0\.0\.1)[^>]+stylesheet", text) == [], page.name
        assert "<code>```" not in text
        assert not re.search(r"^<p>```", text, re.MULTILINE), page.name


def test_pictures_in_the_pages_exist_and_have_alternative_texts():
    pictures = [
        (page, alternative, target)
        for page in PAGES
        for alternative, target in re.findall(r"!\[(.*?)\]\(([^)]+)\)", page.read_text(), re.DOTALL)
    ]
    assert len(pictures) > 3
    assert [target for page, _, target in pictures if not (page.parent / target).exists()] == []
    assert [target for _, alternative, target in pictures if len(alternative) < 20] == []
