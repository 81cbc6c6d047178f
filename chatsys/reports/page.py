"""A page of text, tables and figures, written as index.html (one file, no network) and as report.md with SVGs."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import jinja2
import msgspec
from markupsafe import Markup
from rich.table import Table as RichTable

from chatsys.results.files import write_atomically

_CODE = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)")
_STRONG = re.compile(r"\*\*([^*]+)\*\*")


class Text(msgspec.Struct, frozen=True):
    """Paragraphs, separated by empty lines. ``- `` begins a list item. Inline: `code`, **strong**, [link](address)."""

    text: str


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of texts. ``align`` has ``l`` or ``r`` for each column (default: the first left, the others right)."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    align: str = ""

    def alignment(self) -> str:
        """One letter for each column."""
        return self.align or "l" + "r" * (len(self.header) - 1)

    def markdown(self) -> str:
        """The table in GitHub's Markdown, with the caption above."""
        rule = [("---:" if letter == "r" else "---") for letter in self.alignment()]
        rows = [list(self.header), rule, *([cell.replace("|", "\\|") for cell in row] for row in self.rows)]
        table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        return f"{self.caption}\n\n{table}" if self.caption else table

    def rich(self) -> RichTable:
        """The table for a terminal."""
        table = RichTable(title=self.caption or None, title_justify="left")
        for title, letter in zip(self.header, self.alignment(), strict=True):
            table.add_column(title, justify="right" if letter == "r" else "left", overflow="fold")
        for row in self.rows:
            table.add_row(*row)
        return table


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A picture from :mod:`chatsys.reports.pictures`. ``name`` is its file name without suffix, unique on the page."""

    name: str
    caption: str
    svg: str


class Fragment(msgspec.Struct, frozen=True, kw_only=True):
    """HTML that is inserted unchanged, and the same content in Markdown, which may refer to ``figure``."""

    html: str
    markdown: str
    figure: Figure | None = None


Part = Text | Table | Figure | Fragment


class Section(msgspec.Struct, frozen=True):
    """A heading and the parts below it. A ``folded`` section opens when it is clicked, linked or printed."""

    title: str
    parts: Sequence[Part]
    folded: bool = False


class Page(msgspec.Struct, kw_only=True):
    """A report: first ``lead``, then the sections in the order in which they were added."""

    title: str
    subtitle: str = ""
    lead: Fragment | None = None
    sections: list[Section] = []

    def add(self, title: str, *parts: Part, folded: bool = False) -> None:
        """Append a section. Does nothing without parts."""
        if parts:
            self.sections.append(Section(title, parts, folded))

    def html(self) -> str:
        """The whole page as one file that refers to no other host."""
        return _environment().get_template("page.html.j2").render(page=self, slug=slug)

    def markdown(self) -> str:
        """The page as Markdown; figures refer to ``<name>.svg`` beside it."""
        blocks = [f"# {self.title}", *([self.lead.markdown] if self.lead else []), self.subtitle]
        for section in self.sections:
            blocks += [f"## {section.title}", *(_markdown(part) for part in section.parts)]
        return "\n\n".join(block for block in blocks if block) + "\n"

    def write(self, folder: Path) -> None:
        """Write index.html, report.md and an SVG for each figure into ``folder``; existing files are replaced."""
        folder.mkdir(parents=True, exist_ok=True)
        for figure in self._figures():
            write_atomically(folder / f"{figure.name}.svg", figure.svg.encode())
        write_atomically(folder / "report.md", self.markdown().encode())
        write_atomically(folder / "index.html", self.html().encode())

    def _figures(self) -> Iterator[Figure]:
        parts = [part for section in self.sections for part in section.parts]
        for part in [*([self.lead] if self.lead else []), *parts]:
            figure = part.figure if isinstance(part, Fragment) else part
            if isinstance(figure, Figure):
                yield figure


def _markdown(part: Part) -> str:
    if isinstance(part, Table):
        return part.markdown()
    if isinstance(part, Fragment):
        return part.markdown
    if isinstance(part, Figure):
        return f"![{part.caption}]({part.name}.svg)\n\n*{part.caption}*"
    return part.text


def _inline(text: str) -> str:
    escaped = html.escape(text)
    escaped = _CODE.sub(r"<code>\1</code>", escaped)
    escaped = _STRONG.sub(r"<strong>\1</strong>", escaped)
    return _LINK.sub(r'<a href="\2">\1</a>', escaped)


def _render(part: Part) -> Markup:
    """One part as HTML. All text is escaped; only a :class:`Fragment` and SVGs are inserted as they are."""
    if isinstance(part, Text):
        return Markup("\n".join(_block(block) for block in part.text.strip().split("\n\n")))  # noqa: S704
    if isinstance(part, Fragment):
        return Markup(part.html)  # noqa: S704
    if isinstance(part, Figure):
        figure = f"{_inlined(part.svg, part.name)}<figcaption>{_inline(part.caption)}</figcaption>"
        return Markup(f"<figure>{figure}</figure>")  # noqa: S704
    header, rows = _row("th", part.header, part), "".join(_row("td", row, part) for row in part.rows)
    caption = f"<caption>{_inline(part.caption)}</caption>" if part.caption else ""
    table = f"<table>{caption}<thead>{header}</thead><tbody>{rows}</tbody></table>"
    return Markup(f'<div class="wide">{table}</div>')  # noqa: S704


def _row(tag: str, cells: Sequence[str], table: Table) -> str:
    aligned = zip(cells, table.alignment(), strict=True)
    return "<tr>" + "".join(f'<{tag} class="{a}">{_inline(cell)}</{tag}>' for cell, a in aligned) + "</tr>"


def _block(block: str) -> str:
    lines = block.split("\n")
    if lines[0].startswith("- "):
        items = re.split(r"^- ", block, flags=re.MULTILINE)[1:]
        return "<ul>" + "".join(f"<li>{_inline(item.strip())}</li>" for item in items) + "</ul>"
    return f"<p>{_inline(block)}</p>"


def _inlined(svg: str, name: str) -> str:
    """The SVG element alone, with ids that are unique on the page."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r'\bid="', f'id="{name}-', body)
    return re.sub(r'(href="|url\()#', rf"\1#{name}-", body)


def slug(title: str) -> str:
    """The title as part of an address or a file name: small letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("chatsys.reports", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["render"] = _render
    environment.filters["inline"] = lambda text: Markup(_inline(text))  # noqa: S704
    return environment
