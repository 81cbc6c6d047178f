"""Two looks as one screen of at least 60 × 20. All functions are pure, so that a test can read the screen."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from datetime import datetime

import pandas as pd
from rich.console import Group, RenderableType
from rich.text import Text

from chatsys.analytics.formatting import human
from chatsys.analytics.screen import rows_in
from chatsys.analytics.top.figures import FIGURES, TopFigure
from chatsys.analytics.top.looking import PANE_QUERIES, PANES, Look

SORTS: dict[str, tuple[str, ...]] = {
    "rooms": ("messages", "senders", "room_name"),
    "queries": ("running_ms", "blockers", "application_name"),
    "blocking": ("waiting_ms", "blocking_transaction_ms", "relation_name"),
}
KEYS = (
    ("q", "quit"), ("space", "pause or resume"), ("1 2 3", f"pane: {', '.join(PANES)}"),
    ("s", "sort by the next column"), ("r", "reverse the order"), ("+ -", "slower, faster"), ("h ?", "this help"),
)  # fmt: skip
_LABEL = 10


@dataclass(frozen=True)
class ScreenState:
    """The choices made by keys. ``every`` is in seconds."""

    pane: str = "rooms"
    sort: int = 0
    reverse: bool = False
    paused: bool = False
    help: bool = False
    every: float = 2.0
    done: bool = False

    @property
    def sorted_by(self) -> str:
        """The column by which the pane is sorted."""
        return SORTS[self.pane][self.sort % len(SORTS[self.pane])]


def screen(
    before: Look, after: Look, state: ScreenState, *, title: str, now: datetime, width: int, height: int
) -> RenderableType:
    """The whole screen, at most ``width`` × ``height``."""
    head = _head(title, state, now, width)
    if state.help:
        return Group(head, *_help(width)[: height - 1])
    lines = [head, *_figures(before, after, width), *_bad(before, after, width), *_notes(after, width)]
    foot = Text("q quit  space pause  1 2 3 pane  s sort  r reverse  h help"[:width], style="dim")
    available = max(0, height - len(lines) - 2)
    lines += [Text(""), *_pane(after.pane, state, width, available - 1)]
    lines += [Text("")] * (height - 1 - len(lines))
    return Group(*lines[: height - 1], foot)


def _head(title: str, state: ScreenState, now: datetime, width: int) -> Text:
    right = f"{'PAUSED ' if state.paused else ''}every {state.every:g} s  {now:%H:%M:%S}"
    left = title[: max(0, width - len(right) - 2)]
    return Text(f"{left}{right:>{width - len(left)}}"[:width], style="reverse")


def _figures(before: Look, after: Look, width: int) -> list[Text]:
    """One line for each group, folded if it is too long."""
    lines = []
    for group in dict.fromkeys(figure.group for figure in FIGURES):
        line = Text(f"{group:<{_LABEL}}", style="")
        for figure in (each for each in FIGURES if each.group == group):
            value = figure.get(before, after)
            level = figure.level(value)
            style, mark = level.value
            part = Text.assemble((f"{figure.name} ", "dim"), (f"{shown(figure, value)}{mark}", style))
            if len(line) + len(part) + 2 > width:
                lines.append(line)
                line = Text(" " * _LABEL)
            line = line + part + Text("  ")
        lines.append(line)
    return [each[:width] for each in lines]


def shown(figure: TopFigure, value: float | None) -> str:
    """The value as text for people; a missing value is a dash."""
    if value is None:
        return "-"
    if figure.unit == "_per_second":
        return f"{value:,.0f}/s" if value >= 10 or value == 0 else f"{value:.2g}/s"
    if figure.unit == "":
        return f"{value:,.0f}"
    return human(value, f"x{figure.unit}")


def _bad(before: Look, after: Look, width: int) -> list[Text]:
    """The figures past a threshold and what they mean, the worst first, as many as fit into four lines."""
    judged = [(figure.level(value := figure.get(before, after)), figure, value) for figure in FIGURES]
    order = {"bad": 0, "warn": 1}
    lines: list[Text] = []
    for level, figure, value in sorted(
        (each for each in judged if each[0].name in order), key=lambda each: order[each[0].name]
    ):
        style, mark = level.value
        words = f"{mark:<2} {figure.group} {figure.name} {shown(figure, value)}: {figure.means}"
        parts = textwrap.wrap(words, width, subsequent_indent="   ")
        if len(lines) + len(parts) > 4:
            break
        lines += [Text(part, style) for part in parts]
    return lines


def _notes(after: Look, width: int) -> list[Text]:
    notes = list(after.notes[:2])
    if after.server is None:
        notes.append("server: /metrics does not answer (--server URL), so its line is empty")
    return [Text(note[:width], style="dim") for note in notes]


def _pane(frame: pd.DataFrame, state: ScreenState, width: int, height: int) -> list[Text]:
    if height < 2:
        return []
    if frame.attrs.get("query") != PANE_QUERIES[state.pane][0]:
        return [Text("Loading.")]  # a key chose another pane, and its query has not ended
    if frame.empty:
        return [Text({"rooms": "No messages in the last minute.", "queries": "No statement is running.",
                      "blocking": "Nobody waits for a lock."}[state.pane])]  # fmt: skip
    by = state.sorted_by
    descending = pd.api.types.is_numeric_dtype(frame[by].dtype) != state.reverse
    ordered = frame.sort_values(by, ascending=not descending, kind="stable")
    title = Text(f"{state.pane}, {len(frame):,}, by {by}"[:width], style="bold")
    return [title, *rows_in(ordered, width, height - 1)]


def _help(width: int) -> list[Text]:
    keys = ";  ".join(f"{key}  {what}" for key, what in KEYS)
    lines = [Text(part) for part in textwrap.wrap(f"Keys: {keys}.", width)]
    lines.append(Text("! past the first number, !! past the second:"))
    for figure in FIGURES:
        if figure.means:
            bounds = f"{shown(figure, figure.warn)}, {shown(figure, figure.bad)}"
            sign = "<" if figure.low else ">"
            text = f"{figure.group} {figure.name} {sign} {bounds}: {figure.means}"
            lines += [Text(part) for part in textwrap.wrap(text, width, subsequent_indent="  ")[:1]]
    return lines
