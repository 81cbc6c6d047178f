"""Removes a mechanism from a server. Python imports this module when it starts: the folder is first on its path."""

import os

from chatsys.lab.faults.patches import VARIABLE, apply

if name := os.environ.get(VARIABLE):
    apply(name)
