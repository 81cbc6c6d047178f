"""The report: one file, no network, every figure labelled."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from chatsys.errors import OperatorError
from chatsys.lab import readme, record
from chatsys.lab.claims import judge
from chatsys.lab.report import Page, Series, Table, Text, bars, ecdf, lines
from chatsys.lab.report.bench import page
from chatsys.lab.report.index import index, published
from chatsys.lab.report.tables import guide_table, microseconds, times
from chatsys.lab.statistics import Interval
from chatsys.resources import database_dir

ROOT = database_dir().parent


class Loads(HTMLParser):
    """Everything that a browser would load for a page, and where its links lead."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name == "href" and tag == "a":
                self.links.append(value)
            elif name in ("src", "href", "xlink:href", "data", "poster", "srcset") and not value.startswith("#"):
                self.loaded.append(f"{tag} {value}")


@pytest.fixture
def written(result, samples, tmp_path):
    result.claims = judge(result)
    page(result, samples).write(tmp_path)
    record.save(result, samples, tmp_path)
    return tmp_path


def test_the_page_loads_nothing_and_names_no_other_host(written):
    text = (written / "index.html").read_text()
    seen = Loads()
    seen.feed(text)
    assert seen.loaded == []
    assert all(link.startswith("#") or link in (record.SAMPLES, record.RESULT) for link in seen.links)
    namespaces = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert set(re.findall(r"https?://[^\"'\s)<>]+", text)) <= namespaces
    assert "@import" not in text
    assert "<script" not in text


def test_the_page_follows_light_dark_and_paper(written):
    text = (written / "index.html").read_text()
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_the_guides_table_comes_first_and_limitations_are_there(written):
    headings = re.findall(r"^## (.+)$", (written / "report.md").read_text(), re.MULTILINE)
    assert headings[0] == "The guide's table"
    assert {"Verdicts", "Latency distributions", "Growth", "Durability", "Limitations"} <= set(headings)


def test_every_picture_of_the_markdown_lies_beside_it(written):
    pictures = re.findall(r"\]\(([\w-]+\.svg)\)", (written / "report.md").read_text())
    assert len(pictures) >= 10
    for picture in pictures:
        ElementTree.parse(written / picture)


def test_ids_are_unique_on_the_page(written):
    ids = re.findall(r'\bid="([^"]+)"', (written / "index.html").read_text())
    assert len(ids) == len(set(ids))


def test_what_does_not_hold_is_said_before_the_table(result, samples):
    result.persistence[1] = record.Survival(store="postgresql", killed="server", acknowledged=500, missing=3)
    result.claims = judge(result)
    text = page(result, samples).markdown()
    assert text.index("What does not hold") < text.index("Find a user by id")


def test_an_invalid_run_says_so_with_its_reasons_before_any_figure(result, samples):
    result.invalid("other programs used the processors")
    text = page(result, samples).markdown()
    assert text.index("INVALID") < text.index("Find a user by id")
    assert "other programs used the processors" in text


def test_an_empty_run_still_makes_a_page(result, samples, tmp_path):
    empty = record.Result(
        id=result.id, created_at=result.created_at, profile="quick", seed=1, environment={}, parameters={}, partial=True
    )
    page(empty, []).write(tmp_path)
    assert "Partial" in (tmp_path / "report.md").read_text()


def test_texts_from_outside_are_escaped():
    drawn = Page(title="<script>", subtitle="a & b")
    drawn.add("One", Text("<img src=x> and `<b>`"), Table(header=("<i>",), rows=[("<u>",)]))
    text = drawn.html()
    assert not re.search(r"<(script|img|i|u|b)\b", text.partition("<body>")[2])


def test_colours_come_from_variables_so_that_both_schemes_have_theirs():
    drawn = lines("a", "A curve", [Series("one", [1, 10], [1, 2], [0.5, 1], [2, 3])], x="n", y="ms", log_x=True)
    fixed = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", drawn.svg))
    assert fixed <= {"#ffffff"}
    assert "var(--s0)" in drawn.svg
    assert "A curve" in drawn.svg


def test_pictures_of_one_value_or_of_equal_samples_can_be_drawn():
    assert "<svg" in bars("b", "Bars", [("memory", 0.0)], x="1/s").svg
    assert "<svg" in ecdf("e", "Shares", [("memory", np.full(10, 3.0))], x="µs").svg


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.784, "0.78 µs"), (25.66, "25.7 µs"), (999, "999 µs"), (1184, "1.18 ms"), (2_100_000, "2.10 s")],
)
def test_times_have_a_unit_that_suits_them(value, shown):
    assert microseconds(value) == shown


def test_a_ratio_is_shown_with_its_interval():
    assert times(1.234, Interval(1.2, 12.34)) == "1.23× (1.20 to 12.3)"


def test_the_table_has_the_floor_beside_postgresql_and_what_survived(result):
    table = guide_table(result)
    cells = dict(zip(table.header, table.rows[0], strict=True))
    assert cells["Times bare asyncpg"].startswith("1.25×")
    assert table.rows[-1][:3] == ["Data persistence", "no: 0 of 500 kept", "yes: 500 of 500 kept"]


def test_the_index_passes_over_what_a_monitor_recorded(result, samples, tmp_path):
    record.save(result, samples, tmp_path / "run")
    (tmp_path / "monitoring").mkdir()
    (tmp_path / "monitoring" / "result.json").write_text(
        '{"schema_version": 1, "id": "monitoring-1", "frames": {"wal": {}}}'
    )
    assert [found.id for _, found in published(tmp_path)] == [result.id]


def test_the_index_lists_every_run_and_draws_only_valid_ones(result, samples, tmp_path):
    for number, valid in enumerate((True, False, True)):
        result.id = f"01900000-0000-7000-8000-00000000000{number}"
        result.valid = valid
        record.save(result, samples, tmp_path / f"run{number}")
    assert len(published(tmp_path)) == 3
    text = index(tmp_path).markdown()
    assert "INVALID" in text
    assert "history.svg" in text


def test_one_run_has_no_history_to_draw(result, samples, tmp_path):
    record.save(result, samples, tmp_path / "run")
    text = index(tmp_path).markdown()
    assert "history.svg" not in text
    assert "Find a user by id | " in text


def test_a_legend_is_no_wider_than_its_picture():
    names = ["Find a user by id", "Find a user by name", "Get 100 messages", "Mark a message read", "Send a message"]
    figure = lines("wide", "", [Series(name, [1, 2], [1, 2]) for name in names], x="run", y="ratio")
    texts = re.findall(r'<text [^>]*? x="([\d.]+)"[^>]*>([^<]+)<', figure.svg)
    begins = {name: float(place) for place, name in texts if name in names}
    letter, width = 8.0, 7.6 * 72  # points: a letter of the legend at most, and the picture
    assert set(begins) == set(names)
    assert all(place + letter * len(name) < width for name, place in begins.items())


def test_the_readme_has_the_table_of_the_committed_run():
    """``chatsys bench show reports/latest --readme README.md`` writes it."""
    committed = ROOT / "reports" / "latest"
    shown = (ROOT / "README.md").read_text(encoding="utf-8").partition(readme.BEGIN)[2].partition(readme.END)[0].strip()
    run = record.load(committed) if (committed / record.RESULT).exists() else None
    publishable = run is not None and run.valid and not run.partial
    assert shown == (readme.block(run) if publishable else ""), "run `chatsys bench show --readme README.md`"


@pytest.mark.parametrize("fault", ["partial", "invalid"])
def test_a_run_that_may_not_be_quoted_does_not_reach_the_readme(result, fault):
    result.partial, result.valid = fault == "partial", fault != "invalid"
    with pytest.raises(OperatorError, match=r"is (partial|INVALID)"):
        readme.with_table(f"{readme.BEGIN}\n{readme.END}\n", result)


def test_the_readme_without_the_marks_is_refused(result):
    with pytest.raises(OperatorError, match="lacks the lines"):
        readme.with_table("# chatsys\n", result)


def test_the_table_replaces_the_one_before(result):
    text = f"a\n{readme.BEGIN}\nold\n{readme.END}\nb\n"
    once = readme.with_table(text, result)
    assert "old" not in once
    assert readme.with_table(once, result) == once
