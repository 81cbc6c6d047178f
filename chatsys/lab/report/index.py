"""``reports/index.html``: the published runs, and the history of their ratios."""

from __future__ import annotations

from pathlib import Path

import msgspec

from chatsys.lab.record import RESULT, Result, load
from chatsys.lab.report.page import Page, Part, Table, Text
from chatsys.lab.report.pictures import Series, lines
from chatsys.lab.report.tables import TITLES, times
from chatsys.lab.workloads.operation import TABLE


def published(reports: Path) -> list[tuple[Path, Result]]:
    """Every run in a folder below ``reports``, newest first; the same run in two folders appears once."""
    found: dict[str, tuple[Path, Result]] = {}
    for path in sorted(reports.glob(f"*/{RESULT}")):
        if _is_recording(path):
            continue
        result = load(path)
        if result.id not in found or path.parent.name != "latest":
            found[result.id] = (path.parent, result)
    return sorted(found.values(), key=lambda run: run[1].created_at, reverse=True)


def index(reports: Path) -> Page:
    """The page over all runs; only valid, complete runs are drawn."""
    runs = published(reports)
    page = Page(title="Benchmark runs of chatsys", subtitle="The published runs, newest first.")
    rows = [
        (f"[{result.created_at}]({folder.name}/index.html)", result.profile, str(result.environment.get("cpu", "")),
         (result.environment.get("commit") or "")[:10], _state(result))
        for folder, result in runs
    ]  # fmt: skip
    page.add("Runs", Table(header=("Run", "Profile", "Processor", "Commit", "State"), rows=rows, align="lllll"))
    page.add("History of the ratios", *_history([result for _, result in runs if result.valid and not result.partial]))
    return page


class _Head(msgspec.Struct):
    frames: dict[str, msgspec.Raw] = {}


def _is_recording(path: Path) -> bool:
    """Whether the file holds frames of a monitor (see chatsys.analytics) and not a run of the lab."""
    try:
        return bool(msgspec.json.decode(path.read_bytes(), type=_Head).frames)
    except msgspec.DecodeError:  # a damaged run: loading it says so
        return False


def _state(result: Result) -> str:
    return "partial" if result.partial else "valid" if result.valid else "INVALID: " + "; ".join(result.reasons)


def _history(results: list[Result]) -> list[Part]:
    """PostgreSQL / memory at store depth, oldest run first."""
    series, rows = [], []
    ordered = results[::-1]
    for name in TABLE:
        known = [(number + 1, ratio) for number, result in enumerate(ordered) for ratio in result.ratios
                 if (ratio.operation, ratio.depth) == (name, "store")]  # fmt: skip
        if known:
            series.append(Series(TITLES[name], [n for n, _ in known], [r.ratio for _, r in known],
                                 [r.interval.low for _, r in known], [r.interval.high for _, r in known]))  # fmt: skip
            rows.append((TITLES[name], times(known[-1][1].ratio, known[-1][1].interval)))
    if not series:
        return [Text("No valid run has been published yet.")]
    newest = Table(header=("Operation", "Newest ratio"), rows=rows)
    if len(ordered) < 2:
        return [Text("PostgreSQL / memory at store depth; from the second valid run on with a picture."), newest]
    caption = "PostgreSQL / memory at store depth, run by run; the band is the interval."
    return [lines("history", caption, series, x="run", y="PostgreSQL / memory", log_y=True), newest]
