"""The problems that an experienced administrator would find in a database within five minutes, the worst first."""

from __future__ import annotations

from chatsys.analytics.doctor.examining import Diagnosis, Finding, examine
from chatsys.analytics.doctor.rules import LIMITS, RULES, Harm, Rule

__all__ = ["LIMITS", "RULES", "Diagnosis", "Finding", "Harm", "Rule", "examine"]
