"""Imported by Python at the start of a server whose mechanism shall be taken away: it lies first on its path."""

import os

from chatsys.lab.faults.patches import VARIABLE, apply

if name := os.environ.get(VARIABLE):
    apply(name)
