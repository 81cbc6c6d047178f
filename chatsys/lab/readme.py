"""The table in the README, made from the committed run: ``chatsys bench show --readme`` writes it."""

from __future__ import annotations

from pathlib import Path

from chatsys.errors import OperatorError
from chatsys.lab.record import Result
from chatsys.lab.report.bench import subtitle, verdict
from chatsys.lab.report.tables import guide_table

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


def block(result: Result) -> str:
    """What stands between the marks."""
    parts = [guide_table(result).markdown(), verdict(result), subtitle(result)]
    return "\n\n".join(part for part in parts if part)


def with_table(text: str, result: Result) -> str:
    """The README's ``text`` with the table of ``result``.

    Raises OperatorError if the marks are not there, and for a run that is not valid and complete: its figures are not
    published.
    """
    if result.partial or not result.valid:
        raise OperatorError(
            f"The run {result.id} is {'partial' if result.partial else 'INVALID'}.",
            hint="Run `make bench` on a machine that does nothing else.",
        )
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise OperatorError(f"The README lacks the lines {BEGIN} and {END}.", hint="Put them where the table belongs.")
    return f"{before}{BEGIN}\n\n{block(result)}\n\n{END}{after}"


def write(readme: Path, result: Result) -> None:
    """Put the table of ``result`` into the README."""
    readme.write_text(with_table(readme.read_text(encoding="utf-8"), result), encoding="utf-8")
