"""``python -m chatsys``: the command line."""

from chatsys.cli import main

if __name__ == "__main__":  # a worker process imports this module under another name
    main()
