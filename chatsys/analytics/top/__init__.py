"""One live screen for a chat and its database, as ``chatsys top`` shows it."""

from __future__ import annotations

from chatsys.analytics.top.figures import FIGURES, Level, TopFigure
from chatsys.analytics.top.looking import Look, Looker
from chatsys.analytics.top.screen import ScreenState, screen

__all__ = ["FIGURES", "Level", "Look", "Looker", "ScreenState", "TopFigure", "screen"]
