"""The chat load test: ``locust -f loadtests/chat.py``. docs/LOADTESTING.md explains it."""

from chatsys.loadtesting.locustfile import Lurker, Mobile, Newcomer, Reader, ScenarioShape, Talker

__all__ = ["Lurker", "Mobile", "Newcomer", "Reader", "ScenarioShape", "Talker"]
