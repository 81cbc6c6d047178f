"""The first screen of a benchmark's report: the same content as HTML, as Markdown and as one picture.

The HTML is one fragment with its own style, for a page and for a notebook. Every class begins with ``ds-``, so the
style does not affect what is around it. It has a light, a dark and a print style, and is readable from 400 pixels on.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path

from chatsys.reports import waits
from chatsys.reports.page import Figure, Fragment, Table
from chatsys.reports.tables import marked, promises_table
from chatsys.results.decision import Decision, StoreRates
from chatsys.results.numbers import count, duration
from chatsys.results.run import ClaimPart, Judgement

PICTURE = "decision"
_SHOWN = 8
"""Promises in the table of the first screen; a line below names the others."""
_KEY = (
    '<p class="ds-key">○ memory, ● PostgreSQL: the median. The thin line reaches to the 99th percentile. The'
    " axis is logarithmic.</p>"
)
_STYLE = Path(__file__).with_name("decision.css").read_text(encoding="utf-8")


def fragment(decision: Decision) -> Fragment:
    """The first screen as a part of a page; the page writes its picture as a file that others can link."""
    return Fragment(html=html(decision), markdown=markdown(decision), figure=_figure(decision))


def html(decision: Decision) -> str:
    """One HTML fragment, with its style."""
    themes = (
        f".ds{{{waits.LIGHT}}}@media(prefers-color-scheme:dark){{.ds{{{waits.DARK}}}}}"
        f"@media print{{.ds{{{waits.LIGHT}}}}}"
    )
    style = f"<style>{themes}{waits.STYLE}{_STYLE}</style>"
    warned = f'<p class="ds-warn">{escape(decision.warning)}</p>' if decision.warning else ""
    heading = "<h2>How long a client waits, on memory and on PostgreSQL</h2>"
    picture = f"{heading}{waits.svg(decision.felt)}{_KEY}" if decision.felt else ""
    rates = _rates(decision.rates) if decision.rates else ""
    promises = _promises(decision.promises) if decision.promises else ""
    left = f"<section>{picture}{rates}</section>" if picture or rates else ""
    right = f"<section><h2>The guide's promises</h2>{promises}</section>" if promises else ""
    foot = "".join(f"<p><b>{name}</b> {escape(words)}</p>" for name, words in _foot(decision))
    return (
        f'{style}<div class="ds"><p class="ds-title">{escape(decision.title)}</p>{warned}'
        f'<p class="ds-line">{escape(decision.headline)}</p><div class="ds-two">{left}{right}</div>'
        f'<div class="ds-foot">{foot}</div></div>'
    )


def markdown(decision: Decision, picture: str | None = f"{PICTURE}.svg") -> str:
    """The same for a README. ``picture`` is the path of the picture; if it is None, there is a table instead."""
    parts = [f"**{decision.warning}**" if decision.warning else "", f"**{decision.headline}**"]
    if decision.felt and picture is None:
        header = ("How long a client waits (median)", "Memory", "PostgreSQL", "")
        waiting = [(each.what, duration(each.memory.p50), duration(each.postgresql.p50), each.change)
                   for each in decision.felt]  # fmt: skip
        parts.append(Table(header=header, rows=waiting, align="lrrl").markdown())
    elif decision.felt:
        parts.append(f"![{waits.alternative(decision.felt)}]({picture})")
    if decision.promises:
        parts.append(promises_table(decision).markdown())
    if decision.rates:
        rows = [(each.what, *_sides(each), each.change) for each in decision.rates]
        parts.append(Table(header=("At full speed", "Memory", "PostgreSQL", ""), rows=rows, align="lrrl").markdown())
    parts += [f"**{name}** {words}" for name, words in _foot(decision)]
    return "\n\n".join(part for part in parts if part)


def _figure(decision: Decision) -> Figure | None:
    if not decision.felt:
        return None
    return Figure(name=PICTURE, caption=waits.alternative(decision.felt), svg=waits.svg(decision.felt, alone=True))


def _foot(decision: Decision) -> Iterator[tuple[str, str]]:
    if decision.believe:
        yield "Why believe it.", decision.believe
    if decision.data:
        yield "How much data.", decision.data
    if decision.limits:
        yield "What it does not show.", decision.limits


def _rates(rates: tuple[StoreRates, ...]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(each.what)}</th>'
        + "".join(f'<td class="ds-n">{side}</td>' for side in _sides(each))
        + f'<td class="ds-w">{escape(each.change)}</td></tr>'
        for each in rates
    )
    head = '<th>At full speed</th><th class="ds-n">memory</th><th class="ds-n">PostgreSQL</th>'
    return f"<table><thead><tr>{head}<th></th></tr></thead><tbody>{rows}</tbody></table>"


def _sides(rate: StoreRates) -> tuple[str, str]:
    """Both rates with three significant figures; a lower bound is marked with "over"."""
    shown = [count(float(f"{value:.3g}")) for value in (rate.memory, rate.postgresql)]
    first, second = (f"over {text}" if bound else text for text, bound in zip(shown, rate.at_least, strict=True))
    return first, second


def _promises(promises: tuple[Judgement, ...]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(each.title)}</th><td class="ds-w">{escape(each.guide)}</td>'
        f"<td>{escape(each.brief)}</td>"
        f"<td>{''.join(map(_verdict, each.parts))}</td></tr>"
        for each in promises[:_SHOWN]
    )
    more = "; ".join(f"{each.title}: {each.verdict}" for each in promises[_SHOWN:])
    more = f'<p class="ds-key">Also judged: {escape(more)}. The report shows every rule.</p>' if more else ""
    head = "<th>promise</th><th>the guide</th><th>measured</th><th>verdict</th>"
    return f'<table class="ds-promises"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{more}'


def _verdict(part: ClaimPart) -> str:
    return f'<span class="ds-v {"ds-yes" if part.kept else "ds-no"}">{escape(marked(part))}</span>'
