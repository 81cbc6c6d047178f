"""The notebooks of ``notebooks/``: execute them in place, find what is stale, export them as HTML.

``python -m chatsys.analytics.notebooks`` executes all in place; ``--check`` compares them with the committed outputs
and changes nothing; ``--html FOLDER`` writes executed copies as pages.
"""

from __future__ import annotations

import argparse
import base64
import difflib
import io
import re
import sys
from html import escape
from pathlib import Path
from typing import Any

from chatsys.interrupts import turn_into_interrupts
from chatsys.results.files import write_atomically

FOLDER = Path("notebooks")
TIMEOUT = 600
_ADDRESS = re.compile(r"0x[0-9a-f]+")
_NO_TEXT = "No description has been provided for this image"
_IMAGES = ("image/png", "image/svg+xml")
_TEXTS = ("text/html", "text/markdown", "text/plain")
_SAME = 0.002
"""Share of pixels that may differ, because processors draw the edges of letters differently."""


def execute(path: Path, parameters: dict[str, Any] | None = None) -> Any:
    """Execute a notebook in its own folder with a new kernel, and return it. The file is unchanged.

    ``parameters`` replace values in the cell tagged ``parameters``. Raises nbclient's CellExecutionError.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook: Any = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    if parameters:
        _parametrised(notebook, parameters)
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        extra_arguments=["--log-level=40"],  # errors only
        timeout=TIMEOUT,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    return _settled(notebook)


def texts(notebook: Any) -> list[str]:
    """One text for each output of a notebook: text without memory addresses, a picture's alternative text."""
    return [text for cell in notebook.cells for text in _texts_of(cell)]


def _texts_of(cell: Any) -> list[str]:
    shown = []
    for output in cell.get("outputs", ()):
        data = output.get("data", {})
        kinds = [kind for kind in _IMAGES if kind in data]
        if kinds:
            alternative = output.get("metadata", {}).get(kinds[0], {}).get("alt", "")
            shown.append(f"a picture: {alternative}" if alternative else "a picture")
        else:
            kinds = [kind for kind in _TEXTS if kind in data]
            shown.append("".join(data[kinds[0]] if kinds else output.get("text", "")))
    return [_ADDRESS.sub("0x", text) for text in shown]


def staleness(path: Path) -> str:
    """How a new execution differs from the committed outputs: for each cell a diff of its text, then the pictures that
    changed. Each difference names the notebook and the cell. Empty if nothing differs."""
    import nbformat

    committed = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    executed = execute(path)
    found: list[str] = []
    for number, (before, after) in enumerate(zip(committed.cells, executed.cells, strict=True), start=1):
        old, new = ([line for text in _texts_of(cell) for line in text.splitlines()] for cell in (before, after))
        where = f"{path.name}, cell {number}"
        found += difflib.unified_diff(old, new, f"{where}, committed", f"{where}, executed", lineterm="")
    return "\n".join([*found, *_changed_pictures(path, committed, executed)])


def _changed_pictures(path: Path, committed: Any, executed: Any) -> list[str]:
    """A sentence for each picture whose size or pixels differ."""
    found = []
    for number, (before, after) in enumerate(zip(committed.cells, executed.cells, strict=False), start=1):
        pairs = zip(_pictures(before), _pictures(after), strict=False)
        shares = [share for old, new in pairs if (share := _different(old, new)) > _SAME]
        found += [f"{path.name}, cell {number}: the picture differs in {share:.1%} of its pixels" for share in shares]
    return found


def _pictures(cell: Any) -> list[bytes]:
    found = (output.get("data", {}).get("image/png") for output in cell.get("outputs", ()))
    return [base64.b64decode("".join(data)) for data in found if data]


def _different(before: bytes, after: bytes) -> float:
    """The share of pixels whose colour differs visibly; 1.0 for another size."""
    import numpy as np
    from matplotlib.image import imread

    old, new = (imread(io.BytesIO(data), format="png") for data in (before, after))
    return float(np.mean(np.abs(old - new).max(axis=-1) > 0.1)) if old.shape == new.shape else 1.0


def page(notebook: Any) -> str:
    """An executed notebook as one HTML file; each picture has the alternative text of its output."""
    from nbconvert import HTMLExporter

    html, _ = HTMLExporter().from_notebook_node(notebook)  # type: ignore[no-untyped-call]
    text = str(html)
    for alternative in _alternatives(notebook):  # the exporter's template ignores them
        text = text.replace(_NO_TEXT, escape(alternative), 1)
    return text


def _alternatives(notebook: Any) -> list[str]:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    pictures = (output for output in outputs if "image/png" in output.get("data", {}))
    return [output.get("metadata", {}).get("image/png", {}).get("alt", _NO_TEXT) for output in pictures]


def _parametrised(notebook: Any, parameters: dict[str, Any]) -> None:
    cell = next(each for each in notebook.cells if "parameters" in each.metadata.get("tags", ()))
    cell.source += "".join(f"\n{name} = {value!r}" for name, value in parameters.items())


def _settled(notebook: Any) -> Any:
    """The notebook without what every execution changes: execution times, the interpreter's patch version."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def main() -> None:
    """Execute the notebooks in place from the committed runs."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("notebooks", type=Path, nargs="*", help="notebooks (default: all of notebooks/)")
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if an output is stale")
    parser.add_argument("--html", type=Path, metavar="FOLDER", help="write executed copies as HTML instead")
    given = parser.parse_args()
    chosen = given.notebooks or sorted(FOLDER.glob("*.ipynb"))
    if not chosen:
        sys.exit(f"There are no notebooks in {FOLDER}. Run this from a checkout of chatsys.")
    turn_into_interrupts()
    stale = 0
    for path in chosen:
        try:
            stale += not _handle(path, check=given.check, html=given.html)
        except KeyboardInterrupt:
            print(f"Interrupted: {path} and the notebooks after it are unchanged.", file=sys.stderr)
            sys.exit(130)
    sys.exit(1 if stale else 0)


def _handle(path: Path, *, check: bool, html: Path | None) -> bool:
    """Check, execute or export one notebook. False if it is stale."""
    import nbformat

    if check:
        difference = staleness(path)
        print(f"{path}: {'stale' if difference else 'up to date'}\n{difference}".strip())
        return not difference
    executed = execute(path)
    if html is None:
        text = nbformat.writes(executed)  # type: ignore[no-untyped-call]
        write_atomically(path, f"{text.rstrip()}\n".encode())
        print(f"{path}: executed")
        return True
    html.mkdir(parents=True, exist_ok=True)
    (html / f"{path.stem}.html").write_text(page(executed), encoding="utf-8")
    print(html / f"{path.stem}.html")
    return True


if __name__ == "__main__":
    main()
