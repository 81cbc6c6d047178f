"""Locustfiles, thin: what they need is in ``chatsys.loadtesting``."""
