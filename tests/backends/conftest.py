"""Phoenix and MLflow as they are installed by `scripts/receivers.py`, and programs whose traces are sent to them."""

import contextlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest

from spanloom.cli.demo_command import DEMOS

ROOT = Path(__file__).parents[2]
PATIENCE = 90  # seconds; starting takes 20 on an idle machine, anything else one
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))

# What the demos do not have: tokens written to the model's cache, and a rerank.
EXTRA = """
import spanloom

with spanloom.session(conversation_id="c-17", user_id="u-3"), spanloom.workflow("extra") as flow:
    flow.input("which lamp?")
    with spanloom.chat("claude-x", provider="anthropic") as call:
        call.input([{"role": "user", "content": "which lamp?"}])
        call.output("the red one")
        call.usage(input=100, output=20, cache_read=30, cache_write=40)
    with spanloom.rerank("ranker", provider="cohere") as call:
        call.input("lamps")
        call.documents([{"id": "a", "score": 0.5, "content": "a red lamp"}, {"id": "b", "content": "a blue one"}])
    flow.output({"answer": "the red one"})
"""


def script():
    """`scripts/receivers.py` as a module."""
    spec = importlib.util.spec_from_file_location("receivers", ROOT / "scripts" / "receivers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def program(name):
    """The command of a backend; skips the test where it is not installed."""
    receivers = script()
    found = receivers.program(name, receivers.cache_folder())
    if found is None:
        pytest.skip(f"{name} is not installed: {Path(sys.executable).name} scripts/receivers.py install {name}")
    return str(found)


def eventually(ask, enough, what):
    """What `ask()` returns, once `enough` of it is true.

    Raises:
        AssertionError: it was not in time.
    """
    deadline = time.monotonic() + PATIENCE
    while not enough(found := ask()):
        assert time.monotonic() < deadline, f"{what}: {found!r:.2000}"
        time.sleep(0.1)
    return found


def call(url, body=None, headers=None):
    """The answer to a GET, or to a POST of `body`: its status and, as JSON, what it says; (0, "") without an answer."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **(headers or {})})
    try:
        with DIRECT.open(request, timeout=PATIENCE) as answer:
            status, said = answer.status, answer.read()
    except urllib.error.HTTPError as refusal:
        with refusal:
            status, said = refusal.code, refusal.read()
    except OSError:
        return 0, ""
    try:
        return status, json.loads(said)
    except ValueError:
        return status, said.decode(errors="replace")


def free_ports(number):
    """Ports of loopback that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [one.getsockname()[1] for one in sockets]


@contextlib.contextmanager
def running(command, env, folder, ready):
    """A server and its children, until the block ends; `ready` is the address that answers once it is up."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "PHOENIX_", "MLFLOW_"))}
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**clean, **env},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while call(ready)[0] != 200:
            said = log.read_text(errors="replace")[-4000:]
            assert process.poll() is None, f"it ended with {process.returncode}:\n{said}"
            assert time.monotonic() < deadline, f"it is not up after {PATIENCE} seconds:\n{said}"
            time.sleep(0.1)
        yield process
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)


class Sent:
    """What a program has sent; its own JSONL files say what that was.

    Attributes:
        spans: as OTLP/JSON has them, in the order of their start, with plain attributes under `told`.
        lines: the lines of the files, as they are.
    """

    def __init__(self, workshop, attributes):
        self._attributes = attributes
        self.lines = [line for path in workshop.files() for line in path.read_bytes().splitlines()]
        self.spans = sorted(
            ({**span, "told": attributes(span)} for span in workshop.spans()),
            key=lambda span: int(span["startTimeUnixNano"]),
        )

    def tree(self):
        """Of each span, by its id: name, parent's id, trace id, and whether it failed."""
        return {
            span["spanId"]: (span["name"], span.get("parentSpanId"), span["traceId"], span["status"].get("code") == 2)
            for span in self.spans
        }

    def named(self, start):
        """The spans whose name begins so."""
        return [span for span in self.spans if span["name"].startswith(start)]

    def failed(self):
        """The spans that an exception ended, with that event's attributes."""
        for span in self.spans:
            for event in span.get("events", ()):
                if event["name"] == "exception":
                    yield span, self._attributes(event)

    def tokens(self, operation=""):
        """Of each trace: tokens in and out, as its spans (of names that begin so) say."""
        sums = dict.fromkeys((span["traceId"] for span in self.spans), (0, 0))
        for span in self.named(operation):
            taken, given = (int(span["told"].get(f"gen_ai.usage.{side}_tokens", 0)) for side in ("input", "output"))
            before = sums[span["traceId"]]
            sums[span["traceId"]] = (before[0] + taken, before[1] + given)
        return sums


@pytest.fixture(scope="session")
def lab():
    """The functions of this file, for fixtures that start a backend and ask it."""
    return SimpleNamespace(
        program=program, free_ports=free_ports, running=running, call=call, eventually=eventually, script=script
    )


@pytest.fixture(scope="session")
def send(workshops, attributes):
    """`send(what, env)`: run a demo (`pocketflow`, `langgraph`) or `extra`, exporting as `env` says; returns `Sent`."""

    def run(what, env):
        workshop = workshops(what)
        env = {
            "OTEL_TRACES_EXPORTER": "otlp,jsonl",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY",
            **env,
        }
        command = [workshop.tool("opentelemetry-instrument"), workshop.python]
        if what == "extra":
            workshop.write("extra.py", EXTRA)
            ran = workshop.run([*command, "extra.py"], env=env)
        else:
            with DEMOS[what].model() as server:
                ran = workshop.run([*command, "-m", DEMOS[what].program], env=server.environment(env))
        assert ran.code == 0, ran.err
        return Sent(workshop, attributes)

    return run
