"""``python -m chatsys``: the command line."""

from chatsys.cli import main

main()
