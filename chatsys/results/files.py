"""Write files atomically."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import msgspec


def write_atomically(path: Path, content: bytes) -> None:
    """Write a temporary file and rename it, so that no reader and no power cut leaves half a file at ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_record(path: Path, record: Any) -> None:
    """Write a record as indented JSON."""
    write_atomically(path, msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")
