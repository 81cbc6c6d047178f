"""What an experienced administrator would say of a database after five minutes, in order of harm."""

from __future__ import annotations

from chatsys.analytics.doctor.examining import Diagnosis, Finding, examine
from chatsys.analytics.doctor.rules import LIMITS, RULES, Harm, Rule

__all__ = ["LIMITS", "RULES", "Diagnosis", "Finding", "Harm", "Rule", "examine"]
