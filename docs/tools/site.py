"""Hooks of mkdocs that add the SQL files to the site, because pages link to them."""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add ``database/**/*.sql`` under the same path below the site's root."""
    for path in sorted((ROOT / "database").rglob("*.sql")):
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Adapt links to the SQL files, which are beside ``docs`` in the repository but below the pages in the site.

    The second word after a fence is only for the tests that run the commands.
    """
    return re.sub(r"^( *```\w+) \w+$", r"\1", markdown.replace("](../database/", "](database/"), flags=re.MULTILINE)
