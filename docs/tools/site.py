"""Hooks of mkdocs: the SQL files to which pages lead are part of the site."""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add ``database/**/*.sql``, at the same place below the site's root."""
    for path in sorted((ROOT / "database").rglob("*.sql")):
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """In the repository they lie beside the folder of the pages, in the site below it. The second word behind a fence
    is for the tests that run the commands."""
    return re.sub(r"^( *```\w+) \w+$", r"\1", markdown.replace("](../database/", "](database/"), flags=re.MULTILINE)
