"""The chat load test: ``locust -f $(chatsys loadtest --locustfile)``. docs/LOADTESTING.md explains it."""

from chatsys.loadtesting import lifecycle  # noqa: F401  importing it registers the listeners
from chatsys.loadtesting.personas import Lurker, Mobile, Newcomer, Reader, Talker
from chatsys.loadtesting.shapes import ScenarioShape

__all__ = ["Lurker", "Mobile", "Newcomer", "Reader", "ScenarioShape", "Talker"]
