"""The page of a benchmark run."""

from __future__ import annotations

from chatsys.lab.record import Result, Sampled
from chatsys.lab.report.page import Page, Text
from chatsys.lab.report.tables import guide_table


def page(result: Result, samples: list[Sampled]) -> Page:
    """Everything the run has to say, the guide's table first."""
    drawn = Page(title="Memory against PostgreSQL", subtitle=subtitle(result))
    drawn.add("The guide's table", *([Text(verdict(result))] if verdict(result) else []), guide_table(result))
    drawn.add("Limitations", Text("\n".join(f"- {sentence}" for sentence in result.limitations)))
    return drawn


def subtitle(result: Result) -> str:
    """Which run this is."""
    environment = result.environment
    commit = (environment.get("commit") or "no commit")[:10] + (" with changes" if environment.get("dirty") else "")
    return (
        f"Run `{result.id}` of {result.created_at}, profile {result.profile}, seed {result.seed}, commit {commit}; "
        f"{environment.get('cpu', 'unknown processor')}, {environment.get('cpus', '?')} processors, "
        f"{environment.get('python', '')}."
    )


def verdict(result: Result) -> str:
    """What a reader must know before the figures; empty for a valid, complete run."""
    lines = []
    if not result.valid:
        lines.append(f"**INVALID: these figures must not be quoted.** Reasons: {'; '.join(result.reasons)}.")
    if result.partial:
        lines.append("**Partial:** the run was interrupted; what it had measured until then is shown.")
    return "\n\n".join(lines)
