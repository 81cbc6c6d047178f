"""The outcomes as text, as one JSON object, or as JUnit XML."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import groupby
from xml.etree import ElementTree as Xml

from chatsys.lab.conformance.check import CheckResult, Outcome
from chatsys.lab.conformance.runner import ConformanceRun

TITLES = {
    "1": "Conventions",
    "2": "Tokens",
    "3": "User objects",
    "4": "Authentication",
    "5": "Users",
    "6": "Rooms",
    "7": "Messages",
    "8": "Connections, identity, guests",
    "9": "Events",
    "10": "Events to clients",
    "11": "Health and root",
    "14": "Additions",
}
"""The parts of docs/PROTOCOL.md that have checks."""

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def part_of(result: CheckResult) -> str:
    """The number of the part of the protocol: the digits before the first dot of the section."""
    return result.check.section.partition(".")[0]


def as_text(run: ConformanceRun) -> str:
    """The failures with what was sent and received, the checks that do not apply and why, and a table of the parts."""
    lines = [f"Conformance of {run.url} over {run.transport}"]
    for result in run.results:
        if result.outcome is Outcome.failed:
            lines += ["", f"FAILED §{result.check.section} {result.check.name}", f"  {result.reason}"]
            lines += [f"  Protocol: {sentence}" for sentence in result.check.proves]
            lines += [f"    {line}" for line in result.exchange]
    reasons = Counter(result.reason for result in run.results if result.outcome is Outcome.not_applicable)
    for reason, count in reasons.items():
        lines += ["", f"NOT APPLICABLE ({count}): {reason}"]
        skipped = [result for result in run.results if result.reason == reason]
        lines += [f"  §{result.check.section} {result.check.name}" for result in skipped]
    return "\n".join([*lines, "", *_table(run), "", created(run)])


def created(run: ConformanceRun) -> str:
    """A sentence that says what the run has left on the server."""
    return f"The names of all accounts and rooms that this run created begin with {run.prefix}."


def _table(run: ConformanceRun) -> list[str]:
    rows = [f"{'':<34}{'passed':>8}{'failed':>8}{'not applicable':>16}"]
    for part, group in groupby(run.results, key=part_of):
        rows.append(_row(f"§{part} {TITLES[part]}", Counter(result.outcome for result in group)))
    return [*rows, _row("all", Counter(result.outcome for result in run.results))]


def _row(title: str, counts: Counter[Outcome]) -> str:
    return f"{title:<34}{counts[Outcome.passed]:>8}{counts[Outcome.failed]:>8}{counts[Outcome.not_applicable]:>16}"


def as_json(run: ConformanceRun) -> str:
    """One JSON object: the run, and each check's section, name, sentences, outcome, seconds, reason and exchange."""
    plain = {
        "url": run.url,
        "transport": run.transport,
        "prefix": run.prefix,
        "additions": run.additions,
        "seconds": round(run.seconds, 3),
        **{outcome.name: run.count(outcome) for outcome in Outcome},
        "checks": [
            {
                "section": result.check.section,
                "name": result.check.name,
                "proves": list(result.check.proves),
                "outcome": result.outcome.value,
                "seconds": round(result.seconds, 3),
                "reason": result.reason,
                "exchange": list(result.exchange),
            }
            for result in run.results
        ],
    }
    return json.dumps(plain, indent=2)


def as_junit(run: ConformanceRun) -> str:
    """JUnit XML with a test suite for each part of the protocol. A check that does not apply counts as skipped."""
    root = Xml.Element("testsuites", name=f"Conformance of {run.url}", time=f"{run.seconds:.3f}")
    for part, group in groupby(run.results, key=part_of):
        results = list(group)
        outcomes = Counter(result.outcome for result in results)
        suite = Xml.SubElement(
            root,
            "testsuite",
            name=f"§{part} {TITLES[part]}",
            tests=str(len(results)),
            failures=str(outcomes[Outcome.failed]),
            skipped=str(outcomes[Outcome.not_applicable]),
            errors="0",
            time=f"{sum(result.seconds for result in results):.3f}",
        )
        for result in results:
            _add_case(suite, result)
    Xml.indent(root)
    return Xml.tostring(root, encoding="unicode", xml_declaration=True)


def _add_case(suite: Xml.Element, result: CheckResult) -> None:
    name, section = result.check.name, f"§{result.check.section}"
    case = Xml.SubElement(suite, "testcase", classname=section, name=name, time=f"{result.seconds:.3f}")
    if result.outcome is Outcome.failed:
        failure = Xml.SubElement(case, "failure", message=_clean(result.reason))
        failure.text = _clean("\n".join([*result.check.proves, *result.exchange]))
    elif result.outcome is Outcome.not_applicable:
        Xml.SubElement(case, "skipped", message=_clean(result.reason))


def _clean(text: str) -> str:
    """The text with U+FFFD in place of each character that XML does not allow."""
    return _NO_XML.sub("\ufffd", text)
