"""The report: one file, no network access, every figure labelled."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest

from chatsys.errors import OperatorError
from chatsys.lab import record
from chatsys.reports import Page, Series, Table, Text, bars, ecdf, lines, publishing, readme
from chatsys.reports.bench import page
from chatsys.reports.index import index
from chatsys.reports.records import benchmarks, entries, run_folder
from chatsys.reports.steps import FEWEST, steps
from chatsys.reports.tables import operations_table
from chatsys.resources import database_dir
from chatsys.results.claims import judge
from chatsys.results.distributions import SHARES, read

from .conftest import make_result, make_samples

ROOT = database_dir().parent


class Loads(HTMLParser):
    """Collects everything that a browser would load for a page, and where its links lead."""

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


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder of a run, written once; no test changes it."""
    result, samples, folder = make_result(), make_samples(), tmp_path_factory.mktemp("written")
    result.claims = judge(result)
    page(result, record.summed(samples)).write(folder)
    record.save(result, samples, folder)
    return folder


def test_page_loads_nothing_and_names_no_other_host(written):
    text = (written / "index.html").read_text()
    seen = Loads()
    seen.feed(text)
    assert seen.loaded == []
    assert all(link.startswith("#") or link in (record.SAMPLES, record.RESULT) for link in seen.links)
    namespaces = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert set(re.findall(r"https?://[^\"'\s)<>]+", text)) <= namespaces
    assert "@import" not in text
    assert "<script" not in text


def test_page_follows_light_dark_and_paper(written):
    text = (written / "index.html").read_text()
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_decision_comes_first_and_the_rest_is_collapsed(written):
    text = (written / "index.html").read_text()
    assert text.index('class="ds-line"') < text.index("<details>")
    assert text.count("<details>") == text.count("<section id=") + len(re.findall("<summary>", text))
    headings = re.findall(r"^## (.+)$", (written / "report.md").read_text(), re.MULTILINE)
    assert {"Verdicts in full", "Inside the process", "Growth", "Durability", "Limitations"} <= set(headings)
    contents = re.findall(r'<a href="#([^"]+)">', text.partition("<nav")[2].partition("</nav>")[0])
    assert len(contents) == len(headings)
    assert all(f'id="{each}"' in text for each in contents)


def test_pictures_come_before_tables(written):
    for section in re.split(r"^## ", (written / "report.md").read_text(), flags=re.MULTILINE)[1:]:
        if ".svg)" in section and "| --- |" in section:
            assert section.index(".svg)") < section.index("| --- |"), section.splitlines()[0]


def test_markdown_pictures_are_saved_beside_it(written):
    pictures = re.findall(r"\]\(([\w-]+\.svg)\)", (written / "report.md").read_text())
    assert len(pictures) >= 10
    for picture in pictures:
        ElementTree.parse(written / picture)


def test_ids_are_unique_on_the_page(written):
    ids = re.findall(r'\bid="([^"]+)"', (written / "index.html").read_text())
    assert len(ids) == len(set(ids))


def test_broken_promises_come_first_among_the_verdicts(result, samples):
    result.persistence[1] = record.Survival(store="postgresql", killed="server", acknowledged=500, missing=3)
    rows = page(result, record.summed(samples)).markdown().partition("## Verdicts in full")[2]
    assert rows.index("Data persistence") < rows.index("Find a user")


def test_empty_run_still_gives_a_page(result, samples, tmp_path):
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


def test_colours_come_from_variables_for_both_colour_schemes():
    drawn = lines("a", "A curve", [Series("one", [1, 10], [1, 2], [0.5, 1], [2, 3])], x="n", y="ms", log_x=True)
    fixed = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", drawn.svg))
    assert fixed <= {"#ffffff"}
    assert "var(--s0)" in drawn.svg
    assert "A curve" in drawn.svg


def test_pictures_of_one_value_or_of_equal_samples_can_be_drawn():
    assert "<svg" in bars("b", "Bars", [("memory", 0.0)], x="1/s").svg
    assert "<svg" in ecdf("e", "Shares", [("memory", np.full(10, 3.0), np.linspace(0, 1, 10))], x="µs").svg


def test_table_shows_the_bare_driver_and_what_the_stores_held(result):
    result.operations = [msgspec.structs.replace(each, users=1_000, messages=2_000) for each in result.operations]
    table = operations_table(result, "store")
    cells = dict(zip(table.header, table.rows[0], strict=True))
    assert cells["Over the bare driver"].startswith("1.25×")
    assert cells["With PostgreSQL"] == "90 µs more"
    assert table.caption.endswith("with 1,000 users and 2,000 messages in each store.")


def test_distributions_contain_the_timed_values(result, samples, tmp_path):
    record.save(result, samples, tmp_path)
    found = read(tmp_path)
    assert len(found) == len({(sample.operation, sample.subject) for sample in samples})
    one = next(each for each in found if (each.operation, each.subject) == ("search_users", "memory"))
    taken = np.concatenate([t.microseconds for t in samples if (t.operation, t.subject) == ("search_users", "memory")])
    assert one.n == len(taken)
    assert one.microseconds[SHARES.index(0.5)] == pytest.approx(np.median(taken), rel=1e-6)


def test_index_lists_published_and_unpublished_runs(result, samples, tmp_path):
    for number, (place, valid) in enumerate((("latest", True), ("runs/a", False), ("runs/b", True))):
        result.id = f"01900000-0000-7000-8000-00000000000{number}"
        result.created_at = f"2026-01-0{number + 1}T00:00:00.000Z"
        result.valid = valid
        record.save(result, samples, tmp_path / place)
    (tmp_path / "monitoring").mkdir()
    (tmp_path / "monitoring" / "result.json").write_text(
        '{"schema_version": 1, "id": "monitoring-1", "created_at": "2026-01-02T00:00:00Z", "frames": {"wal": {}}}'
    )
    (tmp_path / "load" / "steady").mkdir(parents=True)
    (tmp_path / "load" / "steady" / "result.json").write_text(
        '{"schema_version": 1, "id": "load-1", "created_at": "2026-01-02T00:00:00Z", "verdict": "VALID",'
        ' "plan": {"scenario": "steady", "users": 90}, "turns": [{"store": "postgres", "locust": {}}]}'
    )
    assert len(benchmarks(tmp_path)) == 3
    assert len(entries(tmp_path)) == 5
    text = index(tmp_path).markdown()
    assert "INVALID" in text
    assert "90 users on PostgreSQL" in text
    assert "## Recordings of a monitor" in text
    assert "history-" in text


def test_published_run_is_listed_where_it_was_published(result, samples, tmp_path):
    for place in ("runs/a", "latest"):
        record.save(result, samples, tmp_path / place)
    assert [(each.folder.name, each.is_published) for each in entries(tmp_path)] == [("latest", True)]


def test_single_run_has_no_history_chart(result, samples, tmp_path):
    record.save(result, samples, tmp_path / "run")
    text = index(tmp_path).markdown()
    assert "history-" not in text
    assert "a history begins with the second" in text


def test_step_is_marked_only_where_it_is_certain():
    rng = np.random.default_rng(4)
    noise = np.exp(rng.normal(0, 0.03, 24))
    stepped = 100 * noise * np.where(np.arange(24) < 14, 1, 1.3)
    if sys.version_info >= (3, 14):
        assert steps(stepped) == []
        return
    (found,) = steps(stepped)
    assert found.first == 14
    assert found.factor == pytest.approx(1.3, rel=0.05)
    assert steps(100 * noise) == []
    assert steps(stepped[14 - FEWEST + 1 : 14 + FEWEST]) == []


def test_publication_is_small_complete_and_refuses_unquotable_runs(result, samples, tmp_path):
    run = run_folder(tmp_path, result)
    assert run.name == "2026-01-01T000000-standard-0123456789"
    record.save(result, samples, run)
    page(result, record.summed(samples)).write(run)
    folder = publishing.publish(run, tmp_path)
    kept = {file.name for file in folder.iterdir()}
    assert {"result.json", "distributions.parquet", "report.md", "decision.svg"} <= kept
    assert "samples.parquet" not in kept
    pictures = re.findall(r"\]\(([\w-]+\.svg)\)", (folder / "report.md").read_text())
    assert set(pictures) <= kept
    with pytest.raises(OperatorError, match="published already"):
        publishing.publish(folder, tmp_path)
    for fault in ("partial", "valid"):
        broken = msgspec.structs.replace(result, **{fault: fault == "partial"})
        record.save(broken, samples, tmp_path / "runs" / fault)
        with pytest.raises(OperatorError, match=r"is (partial|INVALID)"):
            publishing.publish(tmp_path / "runs" / fault, tmp_path)
    assert (folder / "result.json").exists()


def test_thinned_histogram_keeps_its_count_and_its_quantiles():
    rng = np.random.default_rng(1)
    values, counts = np.unique(rng.lognormal(0, 1, 50_000).round(3), return_counts=True)
    whole = [[float(v), int(n)] for v, n in zip(values, counts, strict=True)]
    thin = publishing.thinned(whole)
    assert len(thin) <= 200 < len(whole)
    assert sum(n for _, n in thin) == 50_000
    assert thin[-1][0] == whole[-1][0]
    middle = next(v for (v, _), reached in zip(thin, np.cumsum([n for _, n in thin]), strict=True) if reached >= 25_000)
    assert middle == pytest.approx(1.0, rel=0.03)


def test_legend_is_no_wider_than_its_picture():
    names = ["Find a user by id", "Find a user by name", "Get 100 messages", "Mark a message read", "Send a message"]
    figure = lines("wide", "", [Series(name, [1, 2], [1, 2]) for name in names], x="run", y="ratio")
    texts = re.findall(r'<text [^>]*? x="([\d.]+)"[^>]*>([^<]+)<', figure.svg)
    begins = {name: float(place) for place, name in texts if name in names}
    letter, width = 8.0, 7.6 * 72  # in points: the width of a letter of the legend at most, and of the picture
    assert set(begins) == set(names)
    assert all(place + letter * len(name) < width for name, place in begins.items())


def test_readme_opens_with_the_decision_of_the_published_run():
    """``chatsys bench publish`` writes the README."""
    run = record.load(ROOT / "reports" / "latest")
    shown = (ROOT / "README.md").read_text(encoding="utf-8").partition(readme.BEGIN)[2].partition(readme.END)[0].strip()
    assert shown == readme.block(run), "run `chatsys bench publish`"
    assert "reports/latest/decision.svg" in shown
    assert (ROOT / "reports" / "latest" / "decision.svg").exists()


def test_readme_without_the_markers_is_refused(result):
    with pytest.raises(OperatorError, match="lacks the lines"):
        readme.with_decision("# chatsys\n", result)


def test_decision_replaces_the_previous_one(result):
    text = f"a\n{readme.BEGIN}\nold\n{readme.END}\nb\n"
    once = readme.with_decision(text, result)
    assert "old" not in once
    assert readme.with_decision(once, result) == once
