"""The decision in the README, made from the published run: ``chatsys bench publish`` writes it."""

from __future__ import annotations

from pathlib import Path

from chatsys.errors import OperatorError
from chatsys.reports.bench import subtitle
from chatsys.reports.decision import markdown
from chatsys.results.decision import decide
from chatsys.results.run import Result

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
_PICTURE = "reports/latest/decision.svg"
_MORE = "Every figure, picture and limit is in [reports/latest/report.md](reports/latest/report.md)."


def block(result: Result) -> str:
    """The text between the markers."""
    return "\n\n".join([markdown(decide(result), _PICTURE), f"{subtitle(result)} {_MORE}"])


def with_decision(text: str, result: Result) -> str:
    """The README's ``text`` with the decision of ``result``. Raises OperatorError if the markers are missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise OperatorError(
            f"The README lacks the lines {BEGIN} and {END}.", hint="Add them where the decision belongs."
        )
    return f"{before}{BEGIN}\n\n{block(result)}\n\n{END}{after}"


def write(readme: Path, result: Result) -> None:
    """Write the decision of ``result`` into the README."""
    readme.write_text(with_decision(readme.read_text(encoding="utf-8"), result), encoding="utf-8")
