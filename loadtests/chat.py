"""The chat load test: ``locust -f loadtests/chat.py`` from the checkout's root. docs/LOADTESTING.md explains it."""

from loadtests import lifecycle  # noqa: F401  its listeners make the run
from loadtests.personas import Lurker, Mobile, Newcomer, Reader, Talker  # noqa: F401
from loadtests.shapes import ScenarioShape  # noqa: F401
