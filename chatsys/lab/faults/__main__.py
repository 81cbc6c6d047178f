"""``python -m chatsys.lab.faults``: inject faults, and write the result and the page about it."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from chatsys.errors import ChatsysError
from chatsys.interrupts import EndedBySignals
from chatsys.lab.faults import catalogue, page
from chatsys.lab.faults.record import load
from chatsys.lab.faults.running import PROFILES, run

OUT = Path("reports/faults")


def _say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    """Return exit status 0 if every promise was kept, 1 if one was broken or after an error, and 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m chatsys.lab.faults", description="Inject faults under traffic.")
    parser.add_argument(
        "--profile",
        choices=PROFILES,
        default="quick",
        help="how often to inject each fault (default quick: 3 times, a long fault once)",
    )
    parser.add_argument("--only", default="", help="inject only faults whose names contain one of these words: a,b")
    parser.add_argument(
        "--mutations",
        metavar="WORDS",
        help="only remove the mechanisms whose names contain one of these words: a,b",
    )
    parser.add_argument(
        "--nonsense",
        metavar="WORDS",
        help="only repeat the malformed input of the kinds that contain one of these words: a,b; with --profile long",
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of all random moments and choices (default 1)")
    parser.add_argument(
        "--out", type=Path, default=OUT, help=f"folder of the result; an interrupted run continues (default {OUT})"
    )
    parser.add_argument("--page", type=Path, help="also write the page about the result to this file")
    parser.add_argument("--show", action="store_true", help="inject nothing, only write the pages about the result")
    options = parser.parse_args()
    try:
        if not options.show:
            faults = catalogue.chosen(options.only)
            parts = {"mutated": options.mutations, "nonsense": options.nonsense}
            work = run(PROFILES[options.profile], faults, options.seed, options.out, _say, **parts)
            with EndedBySignals() as ending:  # servers, mounts and rules must not outlive the run
                asyncio.run(ending.run(work))
        result = load(options.out)
        if result is None:
            raise ChatsysError(f"There is no result in {options.out}.")
    except ChatsysError as error:
        print(error, file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    text = page.markdown(result)
    (options.out / "report.md").write_text(text, encoding="utf-8")
    if options.page is not None:
        options.page.write_text(text, encoding="utf-8")
    return 1 if page.fell_short(result) else 0


if __name__ == "__main__":
    sys.exit(main())
