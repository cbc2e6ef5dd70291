"""Python imports this before the program, because `spanloom run` puts this folder first on `PYTHONPATH`.

It takes the folder off `sys.path`, lets the `sitecustomize` that would have run without us run, and sets tracing
up. Whatever fails here costs the trace and never the program. Children of the program inherit the variable; one
that runs another Python, without spanloom, goes on untraced and in silence.
"""

import importlib
import os
import sys


def _step_aside() -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != here]
    ours = sys.modules.pop("sitecustomize")
    try:
        importlib.import_module("sitecustomize")
    except ModuleNotFoundError as exc:
        if exc.name != "sitecustomize":
            raise
    finally:
        sys.modules.setdefault("sitecustomize", ours)  # the import under way wants to find one


def _trace() -> None:
    try:
        from spanloom.launch import start
    except ImportError:
        return
    start()


try:
    _step_aside()
finally:
    _trace()
