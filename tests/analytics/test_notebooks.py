"""The notebooks are short, run from a fresh kernel, and show what the committed runs say."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import nbformat
import pytest

from chatsys.analytics import Monitor, notebooks

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def test_there_are_seven_notebooks() -> None:
    assert [path.stem[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05", "06", "07"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_picture_has_an_alternative_text(path: Path) -> None:
    outputs = [output for cell in read(path).cells for output in cell.get("outputs", ())]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert all(output.metadata["image/png"]["alt"] for output in pictures)
    page = notebooks.page(read(path))
    assert page.count("No description has been provided") == 0


def test_first_notebook_opens_with_the_decision_and_repeats_no_limitation() -> None:
    first = read(NOTEBOOKS[0])
    (shown,) = [o.data["text/html"] for o in first.cells[2].outputs if "data" in o and "text/html" in o.data]
    assert 'class="ds-line"' in shown
    for path in NOTEBOOKS:
        assert "compete for its processors" not in "".join(notebooks.texts(read(path))[1:][-1:]), path.name


@pytest.mark.process
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.timeout(600)
def test_fresh_execution_shows_the_committed_outputs(path: Path) -> None:
    assert notebooks.staleness(path) == ""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_are_short_and_import_only_the_package(path: Path) -> None:
    for cell in read(path).cells:
        if cell.cell_type != "code":
            continue
        assert len(cell.source.splitlines()) <= 6
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").startswith("chatsys.analytics")
            assert not isinstance(node, ast.Import | ast.FunctionDef | ast.For | ast.While)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_opens_with_a_question_and_ends_with_an_answer(path: Path) -> None:
    cells = read(path).cells
    assert "?" in cells[0].source.splitlines()[0]
    (parameters,) = [cell for cell in cells if "parameters" in cell.metadata.get("tags", ())]
    names = {target.id for node in ast.parse(parameters.source).body for target in node.targets}
    assert {"RUN", "QUICK", "LIVE"} <= names
    assert cells[-1].source.startswith("answers.")
    assert "text/markdown" in cells[-1].outputs[0]["data"]


@pytest.mark.process
def test_stale_output_is_detected(tmp_path: Path) -> None:
    path = tmp_path / "small.ipynb"
    cell = nbformat.v4.new_code_cell("6 * 7")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    nbformat.write(notebooks.execute(path), path)
    assert notebooks.staleness(path) == ""
    path.write_text(path.read_text().replace('"42"', '"41"'))
    found = notebooks.staleness(path)
    assert "-41" in found
    assert "+42" in found
    assert "small.ipynb, cell 1, committed" in found


@pytest.mark.process
def test_changed_picture_is_named_with_its_cell(tmp_path: Path) -> None:
    path = tmp_path / "drawn.ipynb"
    source = "import matplotlib.pyplot as plt\nplt.figure(figsize=(2, 1)); plt.plot([1, {}]); plt.show()"
    cells = [nbformat.v4.new_code_cell(text) for text in ("%matplotlib inline", source.format(2))]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    nbformat.write(notebooks.execute(path), path)
    assert notebooks.staleness(path) == ""
    committed = read(path)
    committed.cells[1].source = source.format(-2)
    nbformat.write(committed, path)
    assert notebooks.staleness(path).startswith("drawn.ipynb, cell 2: the picture differs in ")


@pytest.mark.process
def test_parameters_can_be_set_and_an_executed_copy_becomes_a_page(tmp_path: Path) -> None:
    path = tmp_path / "small.ipynb"
    parameters = nbformat.v4.new_code_cell("RUN = 1", metadata={"tags": ["parameters"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[parameters, nbformat.v4.new_code_cell("RUN + 1")]), path)
    executed = notebooks.execute(path, {"RUN": 41})
    assert notebooks.texts(executed) == ["42"]
    assert "42" in notebooks.page(executed)


KERNEL = """
import asyncio, sys
sys.path.insert(0, ROOT)
from chatsys.analytics import Monitor
from tests.analytics.helpers import DECLARED, dtypes, every_helper

await asyncio.sleep(0)  # makes the whole cell run inside the kernel's event loop
with Monitor(URL) as monitor:
    print(dtypes(every_helper(monitor)) == DECLARED, asyncio.get_running_loop().is_running())
"""


def test_every_helper_returns_the_same_dtypes_in_a_notebook_kernel(tmp_path: Path, chat: Monitor, url: str) -> None:
    path = tmp_path / "kernel.ipynb"
    cell = nbformat.v4.new_code_cell(f"ROOT, URL = {str(FOLDER.parent)!r}, {url!r}{KERNEL}")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    assert notebooks.texts(notebooks.execute(path)) == ["True True\n"]


def test_interruption_leaves_a_notebook_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copies = [tmp_path / path.name for path in NOTEBOOKS[:2]]
    for path, copy in zip(NOTEBOOKS, copies, strict=False):
        copy.write_bytes(path.read_bytes())

    def execute(path: Path) -> Any:
        if path == copies[1]:
            raise KeyboardInterrupt
        return read(path)

    monkeypatch.setattr(notebooks, "execute", execute)
    monkeypatch.setattr("sys.argv", ["notebooks", *map(str, copies)])
    monkeypatch.setattr(notebooks, "turn_into_interrupts", lambda: None)  # the variables of this process stay
    with pytest.raises(SystemExit) as ended:
        notebooks.main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == f"Interrupted: {copies[1]} and the notebooks after it are unchanged.\n"
    assert [copy.read_bytes() for copy in copies] == [path.read_bytes() for path in NOTEBOOKS[:2]]


def test_command_without_notebooks_says_where_to_run_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["notebooks"])
    with pytest.raises(SystemExit) as ended:
        notebooks.main()
    assert ended.value.code == "There are no notebooks in notebooks. Run this from a checkout of chatsys."
