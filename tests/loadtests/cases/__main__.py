"""Run all cases of one module, and print the outcome of each as JSON: nothing, or a traceback."""

import chatsys.loadtesting.socketio_user  # noqa: F401, I001  first: it patches the interpreter for gevent

import importlib
import inspect
import json
import sys
import traceback

outcomes = {}
module = importlib.import_module(f"tests.loadtests.cases.{sys.argv[1]}")
for name, case in inspect.getmembers(module, inspect.isfunction):
    if case.__module__ == module.__name__ and not name.startswith("_"):
        try:
            case(*sys.argv[2:])
            outcomes[name] = ""
        except Exception:
            outcomes[name] = traceback.format_exc()
print(json.dumps(outcomes))
