"""The table of checks matches docs/PROTOCOL.md: it is complete, and it quotes the page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chatsys.errors import OperatorError
from chatsys.lab.conformance.check import CHECKS, chosen, order
from chatsys.lab.conformance.checks import all_checks
from chatsys.lab.conformance.report import TITLES

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "PROTOCOL.md").read_text("utf-8")
UNCHECKED = "*Not checked from outside:*"

all_checks()


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _sections() -> dict[str, str]:
    """Return each numbered section's own text, without its subsections."""
    parts = re.split(r"^#{2,3} (\d+(?:\.\d+)?) .*$", PAGE, flags=re.MULTILINE)
    return {number: _one_line(text) for number, text in zip(parts[1::2], parts[2::2], strict=True)}


SECTIONS = _sections()


def test_conformance_has_enough_checks() -> None:
    assert len(CHECKS) >= 150


@pytest.mark.parametrize("check", CHECKS.values(), ids=lambda check: check.name)
def test_check_quotes_its_section(check) -> None:
    assert check.proves
    assert [text for text in check.proves if _one_line(text) not in SECTIONS[check.section]] == []


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: f"section-{section}")
def test_each_section_has_a_check_or_says_why_not(section: str) -> None:
    """A section whose subsections carry all of its content (9 with 9.1) needs no check."""
    checked = any(check.section == section for check in CHECKS.values())
    below = any(other.startswith(f"{section}.") for other in SECTIONS)
    assert checked + (UNCHECKED in SECTIONS[section]) == 1 or (below and UNCHECKED not in SECTIONS[section])


def test_sections_are_numbered_without_gaps() -> None:
    numbers = sorted(SECTIONS, key=order)
    assert list(SECTIONS) == numbers
    assert [number for number in numbers if "." not in number] == [str(number) for number in range(1, 15)]
    for part in range(1, 15):
        below = [order(number)[1] for number in numbers if number.startswith(f"{part}.")]
        assert below == list(range(1, len(below) + 1))


def test_every_section_that_the_code_cites_exists() -> None:
    cited: set[str] = set()
    for folder in ("chatsys", "loadtests", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            lines = path.read_text("utf-8").splitlines()
            ours = [line for line in lines if "RFC" not in line]
            cited |= {number for line in ours for number in re.findall(r"§(\d+(?:\.\d+)?)(?![\d.]*\d)", line)}
    assert {"1.3", "9.2", "14.4"} <= cited
    assert cited - set(SECTIONS) == set()


def test_report_titles_match_those_of_the_page() -> None:
    headings = dict(re.findall(r"^## (\d+) (.*)$", PAGE, flags=re.MULTILINE))
    parts = {check.section.partition(".")[0] for check in CHECKS.values()}
    assert {part: headings[part] for part in parts} == TITLES


def test_risky_check_comes_after_a_harmless_one_and_runs_alone() -> None:
    risky = [check for check in CHECKS.values() if check.after is not None]
    assert risky
    for check in risky:
        assert check.alone
        assert CHECKS[check.after].after is None


@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [
        ([], "1.1", "14.6"),
        (["9"], "9.1", "9.9"),
        (["9.3"], "9.3", "9.3"),
        (["1"], "1.1", "1.12"),
        (["§2.", "14.6"], "2.1", "14.6"),
    ],
)
def test_sections_are_chosen_by_prefix(wanted: list[str], first: str, last: str) -> None:
    found = chosen(CHECKS.values(), wanted)
    assert (found[0].section, found[-1].section) == (first, last)
    assert [check.section for check in found] == sorted((check.section for check in found), key=order)


@pytest.mark.parametrize("wanted", ["15", "9.30", "x", "12.1"])
def test_section_without_checks_is_refused(wanted: str) -> None:
    with pytest.raises(OperatorError, match="No check belongs to section"):
        chosen(CHECKS.values(), [wanted])
