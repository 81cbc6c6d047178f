"""Figures that give their alternative text to a notebook, and so to the page that is exported from it."""

from __future__ import annotations

import base64
import sys
from typing import Any

from matplotlib.figure import Figure

_PNG = "image/png"


class Described(Figure):
    """A figure whose picture in a notebook has an alternative text."""

    def words(self) -> str:
        """The picture in words: the title, what the axes show, and the name of each line."""
        parts = []
        for axes in self.axes:
            title = axes.get_title(loc="left") or axes.get_title() or ", ".join(text.get_text() for text in axes.texts)
            labels = {text for text in axes.get_legend_handles_labels()[1] if text and not text.startswith("_")}
            shown = [
                ("", title),
                ("x axis: ", axes.get_xlabel()),
                ("y axis: ", axes.get_ylabel()),
                ("shown: ", ", ".join(sorted(labels))),
            ]
            parts.append("; ".join(f"{name}{text}" for name, text in shown if text))
        return ". ".join(text for text in parts if text)


def describe_pictures() -> None:
    """In a notebook, store the text of each :class:`Described` with its picture. Elsewhere, do nothing."""
    if "IPython" not in sys.modules:
        return
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is not None and shell.display_formatter is not None:
        shell.display_formatter.formatters[_PNG].for_type(Described, _png)


def _png(figure: Described) -> tuple[str, dict[str, Any]]:
    """The picture as the notebook's own formatter draws it, and its text."""
    from IPython.core.pylabtools import print_figure

    drawn: Any = print_figure(figure, fmt="png")  # type: ignore[no-untyped-call]
    picture = drawn if isinstance(drawn, str) else base64.b64encode(drawn).decode()
    return picture, {"alt": figure.words()}
