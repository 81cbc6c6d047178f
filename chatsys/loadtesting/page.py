"""Verdict and audit in Locust's web page, live and at the end, and the same section in its HTML report.

Locust's page polls its statistics until a run has stopped, which is before the audit. Therefore this module reports the
state "running" to the page until there is a verdict.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

from flask import Response, request
from locust.env import Environment
from locust.runners import STATE_RUNNING

from chatsys.loadtesting.figures import ALL_PUSHES, PUSH, percentile
from chatsys.loadtesting.record import LocustResult
from chatsys.loadtesting.verdict import advice
from chatsys.results.audit import AuditRow

KEY = "verdict"
TITLE = "Verdict and audit"
_FIELDS = ("what", "says")

Rows = list[tuple[str, str]]


def live_rows(environment: Environment, generators: dict[str, dict[str, float]]) -> Rows:
    """The rows during a run; ``generators`` are the latest reports of the generator processes."""
    stats = environment.stats
    pushes = stats.entries.get((ALL_PUSHES, PUSH))
    p99 = percentile(pushes, 0.99) if pushes is not None else None
    timed = "nothing yet" if p99 is None else f"{pushes.num_requests}, p99 {p99:.2f} ms"
    rows = [
        ("Verdict", "at the end of the run, after the audit"),
        ("Deviations so far", f"{sum(int(each['deviations']) for each in generators.values())}"),
        ("Failures so far", f"{stats.num_failures}"),
        ("Pushes timed so far", timed),
    ]
    for name, each in sorted(generators.items()):
        busy = f"{each['cpu']:.0%} of a core, timers {each['lag_ms']:.0f} ms late, {int(each['users'])} users"
        rows.append((f"Generator {name}", busy))
    return rows


def final_rows(result: LocustResult) -> Rows:
    """The rows after a run: the verdict with its reasons and advice, the audit's sums, the clock."""
    rows = [("Verdict", result.verdict)]
    rows += [("Reason", reason) for reason in result.reasons]
    rows += [("Advice", line) for line in advice(result.verdict)]
    total = result.audit.total
    rows += [(name.replace("_", " "), str(getattr(total, name))) for name in AuditRow.__struct_fields__[1:]]
    rows += [("Example", str(example)) for example in result.audit.examples]
    rows.append(("Clock of the pushes", result.clock))
    return rows


def add_tab(web_ui: Any, rows: Callable[[], Rows], over: Callable[[], bool]) -> None:
    """Add a tab with ``rows()`` to Locust's page, and the section to its report. ``over()`` is true between runs."""
    structure = [{"key": key, "title": title} for key, title in zip(_FIELDS, ("", "Now"), strict=True)]
    web_ui.template_args["extended_tabs"] = [{"title": TITLE, "key": KEY}]
    web_ui.template_args["extended_tables"] = [{"key": KEY, "structure": structure}]

    @web_ui.app.after_request
    def extend(response: Response) -> Response:
        if response.status_code == 200 and request.path.endswith("/stats/requests"):
            state = dict(response.json)
            state["state"] = web_ui.environment.runner.state if over() else STATE_RUNNING
            data = [dict(zip(_FIELDS, row, strict=True)) for row in rows()]
            state["extended_stats"] = [{"key": KEY, "data": data}]
            response.set_data(web_ui.app.json.dumps(state))
        elif response.status_code == 200 and request.path.endswith("/stats/report"):
            response.set_data(with_section(response.get_data(as_text=True), rows()))
        return response


def with_section(report: str, rows: Rows) -> str:
    """Locust's HTML report with the section appended."""
    cells = "".join(f"<tr><th scope=row>{escape(what)}</th><td>{escape(says)}</td></tr>" for what, says in rows)
    style = "max-width:1200px;margin:2em auto;padding:0 24px;font-family:Roboto,Helvetica,Arial,sans-serif"
    cell = "#chatsys th,#chatsys td{text-align:left;padding:.3em 1em .3em 0;border-bottom:1px solid #ccc}"
    section = (
        f'<section id="chatsys" style="{style}"><style>{cell}</style><h2>{TITLE}</h2><table>{cells}</table></section>'
    )
    before, body, after = report.rpartition("</body>")
    return f"{before}{section}{body}{after}"


def add_to_file(path: str, rows: Rows) -> None:
    """Append the section to the report at ``path``. Does nothing if Locust has not written one."""
    report = Path(path)
    if report.is_file():
        report.write_text(with_section(report.read_text("utf-8"), rows), "utf-8")
