"""`spanloom demo`: run a real program through `spanloom run`, show its traces, say what to do next.

The programs know nothing of tracing. Their model calls go through the real clients to a server that this command
keeps open on loopback, so that neither a key nor a network is needed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from spanloom.config import JSONL_DIR, trace_directory
from spanloom.environment import TRACES_EXPORTER, exporter_configured, exporter_names

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    from spanloom.demo.server import ModelServer

# About the pace of a fast small model: slow enough to give the tree's bars a shape.
_SECONDS_PER_TOKEN: Final = 0.002


def _support_model() -> ModelServer:
    from spanloom.demo.script import CONTEXT_TOKENS, SupportScript
    from spanloom.demo.server import ModelServer

    return ModelServer(SupportScript(), context_tokens=CONTEXT_TOKENS, seconds_per_token=_SECONDS_PER_TOKEN)


def _research_model() -> ModelServer:
    from spanloom.demo.research_script import ResearchScript
    from spanloom.demo.server import ModelServer

    return ModelServer(ResearchScript(), seconds_per_token=_SECONDS_PER_TOKEN)


class Demo(NamedTuple):
    """A program to show.

    Attributes:
        program: the package that is run.
        framework: what it is written in, as one says it.
        story: what it does.
        needed: the modules that it needs, and that its traces need to be complete.
        model: makes the server of its scripted model.
    """

    program: str
    framework: str
    story: str
    needed: tuple[str, ...]
    model: Callable[[], ModelServer]


DEMOS: Final = {
    "pocketflow": Demo(
        "spanloom.demo.support",
        "PocketFlow",
        "A support desk in PocketFlow works off its tickets",
        ("pocketflow", "openai", "opentelemetry.instrumentation.genai.openai"),
        _support_model,
    ),
    "langgraph": Demo(
        "spanloom.demo.research",
        "LangGraph",
        "A newspaper's research desk in LangGraph looks into a question",
        ("langgraph", "langchain", "langchain_openai", "numpy"),
        _research_model,
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    programs = " and ".join(demo.program for demo in DEMOS.values())
    parser.epilog = f"The programs are ordinary ones: their sources are the packages {programs}."
    parser.add_argument(
        "framework",
        nargs="?",
        choices=DEMOS,
        default=next(iter(DEMOS)),
        help="whose program to run (default: %(default)s)",
    )
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
    demo = DEMOS[options.framework]
    missing = [name for name in demo.needed if not _importable(name)]
    if missing:
        print(f"spanloom: the demo needs {', '.join(missing)}: pip install 'spanloom[demo]'", file=sys.stderr)
        return 1
    if options.real and not os.environ.get("OPENAI_API_KEY"):
        print("spanloom: demo --real calls your model service: set OPENAI_API_KEY first", file=sys.stderr)
        return 2
    directory: str = options.directory or trace_directory()
    service = "your model service" if options.real else "a model server on loopback"
    print(f"{demo.story}, with {service}.\n  {_source(demo)}\n")
    if options.real:
        code = _run_program(demo, directory, os.environ)
    else:
        with demo.model() as server:
            code = _run_program(demo, directory, server.environment(os.environ))
    if code == 0:
        _show(demo, directory)
    return code


def _importable(name: str) -> bool:
    # For a dotted name, a missing parent raises.
    with contextlib.suppress(ModuleNotFoundError):
        return importlib.util.find_spec(name) is not None
    return False


def _run_program(demo: Demo, directory: str, environ: Mapping[str, str]) -> int:
    environment = {**environ, JSONL_DIR: directory}
    if exporter_configured(environ) and "jsonl" not in (names := exporter_names(environ)):
        # The user's backend gets the traces; so do the files that are shown below.
        environment[TRACES_EXPORTER] = ",".join([*names, "jsonl"])
    command = [sys.executable, "-m", "spanloom", "run", "--dir", directory, "-m", demo.program]
    sys.stdout.flush()
    code = subprocess.run(command, env=environment, check=False).returncode  # noqa: S603  our own program
    # A signal's number comes back negative; shells add it to 128.
    return code if code >= 0 else 128 - code


def _show(demo: Demo, directory: str) -> None:
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
      your own {demo.framework} program, unchanged
  OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4317 opentelemetry-instrument python your_program.py
      the same spans to any OpenTelemetry collector or backend
The demo's program is in {_source(demo)}"""
    )


def _source(demo: Demo) -> Path:
    spec = importlib.util.find_spec(demo.program)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"{demo.program} is not installed")
    return Path(spec.origin).parent
