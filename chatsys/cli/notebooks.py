"""``chatsys notebooks``: the notebooks, with the runs that they read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chatsys.cli.working import interruptible
from chatsys.errors import OperatorError
from chatsys.extras import require


def notebooks(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to create.", show_default=False)],
) -> None:
    """Copy the notebooks with the runs that they read.

    Writes DIR/notebooks and DIR/reports. A DIR that exists must be empty.
    """
    require("notebooks")
    import shutil
    from tempfile import TemporaryDirectory

    from chatsys.resources import notebooks_dir, reports_dir

    try:
        if folder.exists() and any(folder.iterdir()):
            raise OperatorError(f"{folder} is not empty.", hint="Name a folder that does not exist yet.")
        hidden = shutil.ignore_patterns(".*", "__pycache__")
        made = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with interruptible("Nothing was written."), TemporaryDirectory(prefix=".partial-", dir=folder) as partial:
                for source in (notebooks_dir(), reports_dir()):
                    shutil.copytree(source, Path(partial, source.name), ignore=hidden)
                for whole in Path(partial).iterdir():
                    whole.rename(folder / whole.name)
        except BaseException:
            if made:
                shutil.rmtree(folder, ignore_errors=True)
            raise
    except OSError as error:
        raise OperatorError(f"The notebooks can't be written to {folder}: {error.strerror or error}.") from error
    typer.echo(f"Open them with `jupyter lab {folder / 'notebooks'}`.")
