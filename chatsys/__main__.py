"""``chatsys`` and ``python -m chatsys``: the command line, Ctrl-C handled from the first import on."""

import signal
import sys


def main() -> None:
    """Run the command line; exit status 130 and one line if Ctrl-C comes where no command handles it."""
    try:
        from chatsys.cli import main as run

        run()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):  # nothing is left to do, and an interpreter that ends dies of it
            signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":  # a worker process imports this module under another name
    main()
