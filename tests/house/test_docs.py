"""The documentation knows every command, endpoint and target, and its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from chatsys.cli import app
from chatsys.web import reference

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_readme_names_every_command():
    readme = (ROOT / "README.md").read_text()
    commands = list(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    assert "serve" in commands
    assert [name for name in commands if f"| `chatsys {name}` |" not in readme] == []


def test_the_readme_leads_to_every_page():
    readme = (ROOT / "README.md").read_text()
    assert [page.name for page in PAGES[2:] if f"(docs/{page.name})" not in readme] == []


def test_every_command_has_a_help():
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert [name for name, command in commands.items() if not command.help] == []


def test_the_page_of_endpoints_and_events_is_made_from_the_source():
    assert (ROOT / "docs" / "API.md").read_text() == reference.markdown(), "run `make docs`"


def test_links_within_the_page_of_endpoints_lead_to_its_types():
    page = (ROOT / "docs" / "API.md").read_text()
    headings = {heading.lower() for heading in re.findall(r"^### (\w+)$", page, re.MULTILINE)}
    linked = set(re.findall(r"\]\(#(\w+)\)", page))
    assert "problem" in linked <= headings


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_pages_exist(page):
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", page.read_text(), re.DOTALL))
    named = set(re.findall(r"(?:`|\n)chatsys ([a-z]+)", code))
    assert named <= set(commands)


def test_every_make_target_that_the_pages_name_exists():
    targets = set(re.findall(r"^([a-zA-Z.]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"(?:`|^|\n)make ([a-z.]+)", page.read_text())}
    assert {"bench", "test"} <= named <= targets
