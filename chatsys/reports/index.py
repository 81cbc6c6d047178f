"""The index of a folder of reports: all runs and notebooks, and the history of each figure on each machine."""

from __future__ import annotations

from pathlib import Path

from chatsys.reports.decision import fragment
from chatsys.reports.page import Page, Part, Table, Text, slug
from chatsys.reports.pictures import Series, lines
from chatsys.reports.records import BENCH, COMPARISON, LOADTEST, RECORDING, Entry, entries
from chatsys.reports.steps import steps
from chatsys.results.decision import decide
from chatsys.results.numbers import duration
from chatsys.results.run import Result

_TARGETS = ("index.html", "report.md", "result.json")
"""A run's line links to the first of these files that exists."""
_MANY = 2  # a history needs this many runs
_HEADINGS = {
    BENCH: "Benchmarks",
    COMPARISON: "Other Socket.IO servers",
    LOADTEST: "Load tests",
    RECORDING: "Recordings of a monitor",
}


def index(reports: Path) -> Page:
    """The page of all runs below ``reports``. Only valid and complete benchmarks have a history."""
    found = entries(reports)
    valid = [entry for entry in found if entry.result is not None and entry.state == "valid"]
    chosen = next((entry.result for entry in (*filter(lambda entry: entry.is_published, valid), *valid)), None)
    page = Page(title="All runs", subtitle=f"{len(found)} runs, newest first.")
    if chosen is not None:
        page.lead = fragment(decide(chosen))
    for kind, heading in _HEADINGS.items():
        rows = [_row(entry, reports) for entry in found if entry.kind == kind]
        if rows:
            header = ("Began", "What", "Machine", "Commit", "State", "Published")
            page.add(heading, Table(header=header, rows=rows, align="llllll"))
    page.add("Notebooks", *_notebooks(reports))
    if (reports / "docs" / "index.html").exists():
        page.add("Documentation", Text("- [The documentation](docs/index.html)"))
    for machine, runs in _machines([entry.result for entry in valid if entry.result is not None]).items():
        page.add(f"History: {machine}", *_history(machine, runs), folded=True)
    return page


def machine(result: Result) -> str:
    """The key of a history: only runs with the same processor, number of processors and profile are comparable."""
    environment = result.environment
    return f"{environment.get('cpu', 'unknown')}, {environment.get('cpus', '?')} processors, profile {result.profile}"


def _row(entry: Entry, reports: Path) -> tuple[str, ...]:
    path = entry.folder.relative_to(reports).as_posix()
    target = f"{path}/{next(name for name in _TARGETS if (entry.folder / name).exists())}"
    environment = entry.result.environment if entry.result is not None else {}
    commit = (environment.get("commit") or "")[:10] + (" with changes" if environment.get("dirty") else "")
    published = "yes" if entry.is_published else "no"
    began = f"[{entry.created_at[:19]}]({target})"
    return began, entry.what, str(environment.get("cpu", "")), commit, entry.state, published


def _notebooks(reports: Path) -> list[Part]:
    """Links to the executed notebooks beside the reports; if there are none, to the notebooks of the checkout."""
    folder, files = "notebooks", sorted((reports / "notebooks").glob("*.html"))
    if not files:
        folder, files = "../notebooks", sorted((reports.parent / "notebooks").glob("*.ipynb"))
    return [Text("\n".join(f"- [{file.stem}]({folder}/{file.name})" for file in files))] if files else []


def _machines(results: list[Result]) -> dict[str, list[Result]]:
    found: dict[str, list[Result]] = {}
    for result in reversed(results):  # oldest first
        found.setdefault(machine(result), []).append(result)
    return found


def _history(name: str, runs: list[Result]) -> list[Part]:
    """Each figure of the first screen over the runs of a machine, with the significant steps."""
    if len(runs) < _MANY:
        return [Text("One run; a history begins with the second.")]
    pictures, significant = [], []
    for what, series in _figures(runs).items():
        significant += [f"- {what}, {text}" for line in series for text in _steps(line, runs)]
        caption = f"{what}: median of each run, {runs[0].created_at[:10]} to {runs[-1].created_at[:10]}."
        marked = [(line.x[step.first], line.name) for line in series for step in steps(line.y)]
        figure = f"history-{slug(name)}-{slug(what)}"
        pictures.append(lines(figure, caption, series, x="run", y="microseconds", steps=marked))
    head = Text("Significant steps:\n\n" + "\n".join(significant)) if significant else Text("No step is significant.")
    return [head, *pictures, _newest(runs[-1])]


def _steps(line: Series, runs: list[Result]) -> list[str]:
    """Each significant step in words: what became slower or faster, by how much, and since which commit."""
    sentences = []
    for step in steps(line.y):
        first = runs[int(line.x[step.first]) - 1]
        commit = (first.environment.get("commit") or "")[:10] or "an unknown commit"
        change = f"{abs(step.factor - 1):.0%} {'slower' if step.factor > 1 else 'faster'}".replace("%", " %")
        sentences.append(f"{line.name}: {change} since {first.created_at[:10]} ({commit})")
    return sentences


def _figures(runs: list[Result]) -> dict[str, list[Series]]:
    known: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for number, result in enumerate(runs, 1):
        for each in decide(result).felt:
            both = known.setdefault(each.what, {"memory": [], "PostgreSQL": []})
            both["memory"].append((number, each.memory.p50))
            both["PostgreSQL"].append((number, each.postgresql.p50))
    return {
        what: [Series(store, [x for x, _ in seen], [y for _, y in seen]) for store, seen in both.items()]
        for what, both in known.items()
    }


def _newest(result: Result) -> Table:
    rows = [(each.what, duration(each.memory.p50), duration(each.postgresql.p50)) for each in decide(result).felt]
    return Table(header=("Newest run, median", "Memory", "PostgreSQL"), rows=rows)
