"""Draws docs/pictures/packages.svg from the imports of the source, and writes the table of docs/ARCHITECTURE.md."""

from __future__ import annotations

import re
import tomllib
from html import escape
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[2]
PAGE, PICTURE = ROOT / "docs/ARCHITECTURE.md", ROOT / "docs/pictures/packages.svg"
BEGIN, END = "<!-- packages: begin -->\n", "<!-- packages: end -->\n"
SMALL = frozenset({"errors", "settings", "resources", "extras", "interrupts", "logs", "metrics"})
"""Modules that nearly every package imports: their arrows would hide the others."""
ABOUT = {
    "cli": "the command line, with as little code as possible",
    "lab": "benchmarks, faults, conformance, shadow traffic",
    "loadtesting": "the Locust users, their scenarios and the verdict of a load test",
    "analytics": "PostgreSQL's views and result files as pandas frames; pictures, notebooks, doctor and top",
    "reports": "results as HTML, Markdown and pictures",
    "results": "the record of a run: its files, its audit, its verdicts",
    "server": "composes a server: one or several processes on a port, HTTP connections on uvicorn, limits",
    "client": "the client's side of Engine.IO and Socket.IO: a session without I/O, on asyncio and on gevent",
    "realtime": "the chat over Socket.IO: the table of events, rooms of this server, lists, receipts",
    "web": "the chat over HTTP: endpoints, OpenAPI, the web client",
    "engine": "the server's side of Engine.IO and Socket.IO, without chat logic: budgets, scheduling, timers",
    "bus": "carries events between servers: NOTIFY, Redis, NATS",
    "chat": "the rules of the chat: verbs that use a store and a fan-out",
    "protocol": "frames and packets that server and clients share, without I/O",
    "wire": "JSON to and from the model; unknown input is refused",
    "database": "what an operator does to a database: embedded server, setup, backup, restore, clean-up, snapshots",
    "store": "the contract of a store, the memory store, the PostgreSQL store",
    "model": "values and pure rules of the chat",
}
_WIDTH, _BOX, _HIGH, _ROW, _GAP = 960, 128, 34, 84, 40
_MEASURES = frozenset({"lab", "loadtesting", "analytics", "reports", "results"})


def layers() -> list[list[str]]:
    """The packages from top to bottom, as import-linter's contract has them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = (each for each in contracts if each["type"] == "layers")
    rows = [[name.strip() for name in row.split("|")] for row in contract["layers"]]
    return [kept for row in rows if (kept := [name for name in row if name in ABOUT])]


def imports() -> dict[str, list[str]]:
    """Which other packages each package imports, without the small modules."""
    graph = grimp.build_graph("chatsys", cache_dir=None)
    names = [name for row in layers() for name in row]
    return {
        name: [
            other
            for other in names
            if other != name
            and graph.direct_import_exists(importer=f"chatsys.{name}", imported=f"chatsys.{other}", as_packages=True)
        ]
        for name in names
    }


def picture(edges: dict[str, list[str]]) -> str:
    """An SVG: a row for each layer, an arrow for each import except of ``model``, which most packages import."""
    rows = layers()
    corner = {
        name: (
            (_WIDTH - len(row) * _BOX - (len(row) - 1) * _GAP) / 2 + place * (_BOX + _GAP) + _shift(number, len(row)),
            20 + number * _ROW,
        )
        for number, row in enumerate(rows)
        for place, name in enumerate(row)
    }
    shown = {name: sorted(set(others) - {"model"}, key=corner.__getitem__) for name, others in edges.items()}
    arrows = [
        _arrow(corner[name], corner[other], place, len(others), name in _MEASURES)
        for name, others in shown.items()
        for place, other in enumerate(others)
    ]
    boxes = [_box(name, *at) for name, at in corner.items()]
    height = 20 + len(rows) * _ROW - (_ROW - _HIGH) + 20
    said = "; ".join(f"{name} imports {', '.join(others)}" for name, others in edges.items() if others)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
            "<title>The packages of chatsys and what each imports</title>",
            f"<desc>{escape(said)}.</desc>",
            "<style>rect{stroke-width:1.5}text{font:15px system-ui,sans-serif;fill:#14202b}",
            "path{fill:none;stroke-width:1.3}</style>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M0 0 8 4 0 8z" style="fill:#5b6b7a;stroke:none"/></marker></defs>',
            f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
            *arrows,
            *boxes,
            "</svg>\n",
        ]
    )


def _shift(number: int, size: int) -> float:
    """Shift a row of one box to the left or right, so that arrows that pass it stay visible."""
    return (-120, 120)[number % 2] if size == 1 else 0


def _arrow(start: tuple[float, float], end: tuple[float, float], place: int, size: int, measures: bool) -> str:
    x = start[0] + _BOX * (place + 1) / (size + 1)
    y, target = start[1] + _HIGH, end[0] + _BOX / 2
    bend = max(28.0, (end[1] - y) * 0.45)
    colour = "#1a7f5a" if measures else "#2f6fb3"
    return (
        f'<path d="M{x:.0f} {y:.0f}C{x:.0f} {y + bend:.0f} {target:.0f} {end[1] - bend:.0f} {target:.0f}'
        f' {end[1] - 1:.0f}" stroke="{colour}" stroke-opacity=".55" marker-end="url(#tip)"/>'
    )


def _box(name: str, x: float, y: float) -> str:
    fill, line = ("#e3f4ec", "#1a7f5a") if name in _MEASURES else ("#e6f0fa", "#2f6fb3")
    return (
        f'<rect x="{x:.0f}" y="{y:.0f}" width="{_BOX}" height="{_HIGH}" rx="6" fill="{fill}" stroke="{line}"/>'
        f'<text x="{x + _BOX / 2:.0f}" y="{y + _HIGH / 2 + 5:.0f}" text-anchor="middle">{name}</text>'
    )


def table(edges: dict[str, list[str]]) -> str:
    """Package, what is in it, what it imports."""
    lines = ["| package | what is in it | what it imports |", "|---|---|---|"]
    lines += [f"| `{name}` | {ABOUT[name]} | {', '.join(f'`{each}`' for each in edges[name])} |" for name in edges]
    return "\n".join(lines) + "\n"


def page(text: str, edges: dict[str, list[str]]) -> str:
    """The page with a current table."""
    return re.sub(f"{BEGIN}.*{END}", lambda _: BEGIN + table(edges) + END, text, flags=re.DOTALL)


def main() -> None:
    """Write both."""
    edges = imports()
    PICTURE.write_text(picture(edges))
    PAGE.write_text(page(PAGE.read_text(), edges))


if __name__ == "__main__":
    main()
