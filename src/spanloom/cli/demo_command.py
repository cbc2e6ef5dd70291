"""`spanloom demo`: run a real program through `spanloom run`, show its traces, say what to do next.

The program is `spanloom.demo.support`, which knows nothing of tracing. Its model calls go through the `openai`
client to a server that this command keeps open on loopback, so that neither a key nor a network is needed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spanloom.config import JSONL_DIR, trace_directory
from spanloom.environment import TRACES_EXPORTER, exporter_configured, exporter_names

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

PROGRAM: Final = "spanloom.demo.support"
_NEEDED: Final = ("pocketflow", "openai", "opentelemetry.instrumentation.genai.openai")
# About the pace of a fast small model: slow enough to give the tree's bars a shape.
_SECONDS_PER_TOKEN: Final = 0.002


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = "The program is an ordinary one: its source is the package spanloom.demo.support."
    parser.add_argument("--dir", dest="directory", help="folder of the trace files (default: as for spanloom run)")
    parser.add_argument(
        "--real",
        action="store_true",
        help="call the service of your own OPENAI_API_KEY (and OPENAI_BASE_URL, OPENAI_MODEL) instead of the "
        "demo's model server",
    )


def run(options: argparse.Namespace) -> int:
    """Run the demo and show its traces.

    Returns:
        The program's exit code; 1 if a package is missing, 2 for `--real` without a key.
    """
    missing = [name for name in _NEEDED if not _importable(name)]
    if missing:
        print(f"spanloom: the demo needs {', '.join(missing)}: pip install 'spanloom[demo]'", file=sys.stderr)
        return 1
    if options.real and not os.environ.get("OPENAI_API_KEY"):
        print("spanloom: demo --real calls your model service: set OPENAI_API_KEY first", file=sys.stderr)
        return 2
    directory: str = options.directory or trace_directory()
    code = _run_real(directory) if options.real else _run_with_server(directory)
    if code == 0:
        _show(directory)
    return code


def _importable(name: str) -> bool:
    # For a dotted name, a missing parent raises.
    with contextlib.suppress(ModuleNotFoundError):
        return importlib.util.find_spec(name) is not None
    return False


def _run_real(directory: str) -> int:
    print(f"A support desk in PocketFlow works off its tickets, with your model service.\n  {_source()}\n")
    return _run_program(directory, os.environ)


def _run_with_server(directory: str) -> int:
    from spanloom.demo.script import CONTEXT_TOKENS, SupportScript
    from spanloom.demo.server import ModelServer

    print(f"A support desk in PocketFlow works off its tickets, with a model server on loopback.\n  {_source()}\n")
    server = ModelServer(SupportScript(), context_tokens=CONTEXT_TOKENS, seconds_per_token=_SECONDS_PER_TOKEN)
    with server:
        return _run_program(directory, loopback_environment(os.environ, server.base_url))


def loopback_environment(environ: Mapping[str, str], base_url: str) -> dict[str, str]:
    """`environ` with the model server at `base_url` in it, past any proxy, and without the user's own key."""
    from spanloom.demo.server import CHAT_MODEL, EMBEDDING_MODEL

    past_proxies = ",".join(part for part in (environ.get("NO_PROXY") or environ.get("no_proxy"), "127.0.0.1") if part)
    return {
        **environ,
        "OPENAI_BASE_URL": base_url,
        "OPENAI_API_KEY": "loopback",
        "OPENAI_MODEL": CHAT_MODEL,
        "OPENAI_EMBEDDING_MODEL": EMBEDDING_MODEL,
        # Clients differ in which spelling they read first.
        "NO_PROXY": past_proxies,
        "no_proxy": past_proxies,
    }


def _run_program(directory: str, environ: Mapping[str, str]) -> int:
    environment = {**environ, JSONL_DIR: directory}
    if exporter_configured(environ) and "jsonl" not in (names := exporter_names(environ)):
        # The user's backend gets the traces; so do the files that are shown below.
        environment[TRACES_EXPORTER] = ",".join([*names, "jsonl"])
    command = [sys.executable, "-m", "spanloom", "run", "--dir", directory, "-m", PROGRAM]
    sys.stdout.flush()
    code = subprocess.run(command, env=environment, check=False).returncode  # noqa: S603  our own program
    # A signal's number comes back negative; shells add it to 128.
    return code if code >= 0 else 128 - code


def _show(directory: str) -> None:
    from spanloom.view import ViewOptions, show
    from spanloom.view.look import colour_wanted

    print(flush=True)
    options = ViewOptions(colour=colour_wanted(sys.stdout, os.environ))
    show(None, out=sys.stdout, err=sys.stderr, directory=directory, options=options)
    view = "spanloom view" if directory == trace_directory() else f"spanloom view {shlex.quote(directory)}"
    print(
        f"""
What to do next
  {view} --errors
      only what failed, and the way there
  {view} --content
      with prompts, answers, tool calls and state
  spanloom run your_program.py
      your own PocketFlow program, unchanged
  OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4317 opentelemetry-instrument python your_program.py
      the same spans to any OpenTelemetry collector or backend
The demo's program is in {_source()}"""
    )


def _source() -> Path:
    spec = importlib.util.find_spec(PROGRAM)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"{PROGRAM} is not installed")
    return Path(spec.origin).parent
