"""Locustfiles; their code is in ``chatsys.loadtesting``."""
