"""One live screen for a chat and its database, as ``chatsys top`` shows it."""

from __future__ import annotations

from chatsys.analytics.top.figures import FIGURES, Figure, Level
from chatsys.analytics.top.looking import Look, Looker
from chatsys.analytics.top.screen import State, screen

__all__ = ["FIGURES", "Figure", "Level", "Look", "Looker", "State", "screen"]
