"""``chatsys`` and ``python -m chatsys``: the command line, Ctrl-C handled from the first import on."""

import sys


def main() -> None:
    """Run the command line; exit status 130 if Ctrl-C comes while it is still being read."""
    try:
        from chatsys.cli import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":  # a worker process imports this module under another name
    main()
