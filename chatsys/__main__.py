"""The entry point of ``chatsys`` and ``python -m chatsys``. It handles Ctrl-C from the first import on."""

import signal
import sys


def main() -> None:
    """Run the command line. If no command handles Ctrl-C, print one line and exit with status 130."""
    try:
        from chatsys.cli import main as run

        run()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):  # while the interpreter shuts down, a signal would kill it
            signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":  # a worker process imports this module under another name
    main()
