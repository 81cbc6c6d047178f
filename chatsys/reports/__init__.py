"""Reports: sections of text, tables and figures, written as one self-contained HTML file and as Markdown.

``page`` has :class:`Page` and its parts. ``pictures`` draws SVG figures for light and dark screens. ``decision`` is the
first screen of a benchmark's report, ``bench`` the whole page. ``records`` finds the runs below a folder, ``index``
lists them, and ``publishing`` publishes one. A load test's report uses the same parts::

    page = Page(title="Load test", subtitle="run 0192…")
    page.add("Latency", Text("Timed at the receiver."), Table(header=("what", "p50"), rows=(("push", "1.2 ms"),)),
             lines("latency", "p50 by users", [Series("p50", xs, ys)], x="users", y="ms"))
    page.write(Path("out"))
"""

from chatsys.reports.page import Figure, Page, Table, Text
from chatsys.reports.pictures import Series, bars, ecdf, lines, panels

__all__ = ["Figure", "Page", "Series", "Table", "Text", "bars", "ecdf", "lines", "panels"]
