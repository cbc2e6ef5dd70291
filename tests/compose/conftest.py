"""The stack's own configuration files, run by the real programs on loopback; everything started is stopped."""

import base64
import contextlib
import importlib.util
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
import yaml
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "compose"
PATIENCE = 90  # seconds, for things that take a few on an idle machine


def poll(look, what, patience=PATIENCE, pause=0.2):
    """`look()` until it returns something true, which is returned."""
    deadline = time.monotonic() + patience
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {patience} s: {what() if callable(what) else what}"
        time.sleep(pause)


_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(address, accept="application/json", **query):
    """The body of an answer, parsed if it is JSON; None for a refusal or no answer."""
    url = address + (f"?{urllib.parse.urlencode(query, doseq=True)}" if query else "")
    try:
        with _direct.open(urllib.request.Request(url, headers={"Accept": accept}), timeout=20) as answer:
            text = answer.read().decode()
    except (urllib.error.URLError, OSError):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text


def free_ports(number):
    """Ports that nobody listens at, outside the range from which outgoing connections get theirs."""
    found = []
    for port in random.Random(os.urandom(8)).sample(range(20000, 30000), 500):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
        if len(found) == number:
            return found
    raise AssertionError("no free ports")


class Server:
    """A program that runs until it is stopped.

    Args:
        command: the command line.
        folder: for its log.
        environment: what it gets beside PATH and HOME.
        ready: an address that answers, or a function that returns true, when it is ready.
    """

    def __init__(self, command, folder, environment=(), ready=None):
        # Where the test run itself is killed, what it has started goes with it.
        leash = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        self.command = leash + [str(part) for part in command]
        self.environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self.environment |= {name: str(value) for name, value in dict(environment).items()}
        self.log = folder / "log"
        self._ready = ready
        self._process = None

    def start(self):
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                self.command,
                env=self.environment,
                cwd=self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        try:
            poll(self._answers, self.tell)
        except BaseException:
            self.kill()
            raise
        return self

    def _answers(self):
        assert self._process.poll() is None, self.tell()
        return get(self._ready) is not None if isinstance(self._ready, str) else self._ready()

    def tell(self):
        """The command and the end of its log."""
        return f"{' '.join(self.command)}\n{self.text[-4000:]}"

    @property
    def text(self):
        return self.log.read_text(errors="replace")

    def stop(self):
        """Ask it to end, and make it end if it does not."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(PATIENCE)
            self.kill()

    def kill(self):
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None


@pytest.fixture(scope="session")
def backends():
    """scripts/backends.py as a module."""
    spec = importlib.util.spec_from_file_location("backends", ROOT / "scripts" / "backends.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def program(backends):
    """A function: the path of a program of the stack; skips the test, and names the command, where it is missing."""

    def find(name):
        found = backends.find(name)
        if found is None:
            pytest.skip(backends.missing(name))
        return found

    return find


@pytest.fixture(scope="session")
def servers():
    """A function that starts a `Server`; at the end, whatever was started is stopped."""
    started = []

    def start(*arguments, **options):
        server = Server(*arguments, **options)
        started.append(server)
        return server.start()

    yield start
    for server in reversed(started):
        server.kill()  # nothing of theirs is needed any more, and Tempo takes half a minute to say goodbye


# ---- spans, however they came back, as plain values ----

_KINDS = {f"SPAN_KIND_{name}": number for number, name in enumerate(["UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT"])}
_CODES = {"STATUS_CODE_UNSET": 0, "STATUS_CODE_OK": 1, "STATUS_CODE_ERROR": 2}


def _hex(text):
    """An id as hex; Tempo writes ids as protobuf's JSON does, in base64."""
    return text if len(text) in (0, 16, 32) else base64.b64decode(text).hex()


def _value(value):
    ((kind, content),) = value.items() or [("none", None)]
    if kind == "arrayValue":
        return [_value(one) for one in content.get("values", [])]
    return int(content) if kind == "intValue" else float(content) if kind == "doubleValue" else content


def _attributes(holder):
    return {pair["key"]: _value(pair["value"]) for pair in holder.get("attributes", ())}


def _plain(span, resource):
    status = span.get("status", {})
    return {
        "name": span["name"],
        "parent": _hex(span.get("parentSpanId", "")),
        "kind": _KINDS.get(span["kind"], span["kind"]),
        "time": (int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])),
        "status": (_CODES.get(status.get("code", 0), status.get("code", 0)), status.get("message", "")),
        "attributes": _attributes(span),
        "events": [(one["name"], int(one["timeUnixNano"]), _attributes(one)) for one in span.get("events", ())],
        "links": [(_hex(one["traceId"]), _hex(one["spanId"]), _attributes(one)) for one in span.get("links", ())],
        "resource": _attributes(resource),
    }


def _by_id(data, into):
    """Add the spans of OTLP/JSON to `{trace id: {span id: plain span}}`."""
    for batch in data.get("resourceSpans", ()):
        for scope in batch["scopeSpans"]:
            for span in scope["spans"]:
                into.setdefault(_hex(span["traceId"]), {})[_hex(span["spanId"])] = _plain(span, batch["resource"])
    return into


def written(folder):
    """What spanloom wrote to the files of a folder: `{trace id: {span id: plain span}}`."""
    found = {}
    for path in sorted(Path(folder).glob("*.traces.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            _by_id(json.loads(line), found)
    return found


# ---- the backends ----


class Jaeger:
    """A running Jaeger: `otlp` is where it takes spans."""

    def __init__(self, server, http, otlp):
        self.server, self.address, self.otlp = server, f"http://127.0.0.1:{http}", f"127.0.0.1:{otlp}"

    def _found(self, trace):
        found = get(f"{self.address}/api/v3/traces/{trace}")
        return found.get("result", {}) if isinstance(found, dict) else {}

    def spans(self, trace):
        """The spans of a trace, by id; nothing if there is no such trace."""
        return _by_id(self._found(trace), {}).get(trace, {})

    def shown(self, trace):
        """How many spans it shows of a trace."""
        batches = self._found(trace).get("resourceSpans", ())
        return sum(len(scope["spans"]) for batch in batches for scope in batch["scopeSpans"])

    def search(self, **query):
        """The ids of the traces that its search finds."""
        found = get(f"{self.address}/api/traces", limit=100, **query)
        return {trace["traceID"] for trace in found["data"]} if isinstance(found, dict) else set()


class Tempo:
    """A running Tempo: `otlp` is where it takes spans."""

    def __init__(self, server, http, otlp):
        self.server, self.address, self.otlp = server, f"http://127.0.0.1:{http}", f"127.0.0.1:{otlp}"

    def spans(self, trace):
        """The spans of a trace, by id; nothing if there is no such trace."""
        found = get(f"{self.address}/api/v2/traces/{trace}")
        return _by_id(found["trace"], {}).get(trace, {}) if isinstance(found, dict) and "trace" in found else {}

    def search(self, query, **options):
        """The ids of the traces that a TraceQL query finds."""
        found = get(f"{self.address}/api/search", q=query, limit=100, **options)
        # It leaves leading zeros out.
        return {trace["traceID"].zfill(32) for trace in found.get("traces", [])} if isinstance(found, dict) else set()


class Prometheus:
    """A running Prometheus: `otlp` is where it takes metrics."""

    def __init__(self, server, http):
        self.server, self.address = server, f"http://127.0.0.1:{http}"
        self.otlp = f"{self.address}/api/v1/otlp"

    def ask(self, query):
        """What an expression is now: a list of `(labels, value)`; fails if it is no expression."""
        found = get(f"{self.address}/api/v1/query", query=query)
        assert found, query
        assert found["status"] == "success", (query, found)
        return [(one["metric"], float(one["value"][1])) for one in found["data"]["result"]]


@pytest.fixture(scope="session")
def ports():
    """Ports that one program's configuration and another one's both name."""
    names = ("collector", "jaeger", "tempo")
    return dict(zip(names, free_ports(len(names)), strict=True))


@pytest.fixture(scope="session")
def jaeger(program, servers, ports, tmp_path_factory):
    """Jaeger with compose/jaeger/jaeger.yaml."""
    command, folder = program("jaeger"), tmp_path_factory.mktemp("jaeger")
    http, grpc, otlp, health = free_ports(4)
    environment = {
        "JAEGER_HOST": "127.0.0.1",
        "JAEGER_STATE": folder / "state",
        "JAEGER_HTTP_PORT": http,
        "JAEGER_GRPC_PORT": grpc,
        "JAEGER_OTLP_PORT": otlp,
        "JAEGER_HEALTH_PORT": health,
        "JAEGER_METRICS_PORT": ports["jaeger"],
    }
    config = f"--config={COMPOSE}/jaeger/jaeger.yaml"
    ready = f"http://127.0.0.1:{health}/status"
    return Jaeger(servers([command, config], folder, environment, ready), http, otlp)


@pytest.fixture(scope="session")
def tempo(program, servers, ports, tmp_path_factory):
    """Tempo with compose/tempo/tempo.yaml."""
    command, folder, http = program("tempo"), tmp_path_factory.mktemp("tempo"), ports["tempo"]
    grpc, otlp, ring = free_ports(3)
    environment = {
        "TEMPO_HOST": "127.0.0.1",
        "TEMPO_STATE": folder / "state",
        "TEMPO_HTTP_PORT": http,
        "TEMPO_GRPC_PORT": grpc,
        "TEMPO_OTLP_PORT": otlp,
        "TEMPO_RING_PORT": ring,
    }
    line = [command, "-target=all", f"-config.file={COMPOSE}/tempo/tempo.yaml", "-config.expand-env=true"]
    return Tempo(servers(line, folder, environment, f"http://127.0.0.1:{http}/ready"), http, otlp)


@pytest.fixture(scope="session")
def prometheus(program, servers, ports, tmp_path_factory):
    """Prometheus with compose/prometheus. It reads no environment, so paths and targets are put in; and it hurries."""
    command, folder = program("prometheus"), tmp_path_factory.mktemp("prometheus")
    (http,) = free_ports(1)
    text = (COMPOSE / "prometheus" / "prometheus.yaml").read_text("utf-8")
    places = {
        "/etc/prometheus/": f"{COMPOSE}/prometheus/",
        "collector:8888": f"127.0.0.1:{ports['collector']}",
        "jaeger:8888": f"127.0.0.1:{ports['jaeger']}",
        "tempo:3200": f"127.0.0.1:{ports['tempo']}",
        "localhost:9090": f"127.0.0.1:{http}",
        "_interval: 15s": "_interval: 1s",
    }
    for there, here in places.items():
        assert there in text
        text = text.replace(there, here)
    config = folder / "prometheus.yaml"
    config.write_text(text, "utf-8")
    given = services()["prometheus"]["command"]
    options = [part for part in given if not part.startswith(("--config.file", "--storage.tsdb.path"))]
    line = [command, f"--config.file={config}", f"--storage.tsdb.path={folder}/data", *options]
    line.append(f"--web.listen-address=127.0.0.1:{http}")
    return Prometheus(servers(line, folder, {}, f"http://127.0.0.1:{http}/-/ready"), http)


def services(**environment):
    """The services of docker-compose.yml with variables filled in, as compose fills them in."""

    def fill(match):
        name, default = match.group(1), match.group(2)
        return environment.get(name, default)

    text = (ROOT / "docker-compose.yml").read_text("utf-8")
    filled = re.sub(r"\$\{([A-Z_]+):-([^}]*)\}", fill, text)
    assert not re.search(r"(?<!\$)\$\{", re.sub(r"(?m)#.*$", "", filled)), "a variable without a default"
    return yaml.safe_load(filled.replace("$$", "$"))["services"]


class Collector:
    """A running collector: where it takes OTLP, the folder that it reads, what it keeps of logs, its own metrics."""

    def __init__(self, server, folder, grpc, http, metrics):
        self.server, self.jsonl, self.logs = server, folder / "jsonl", folder / "state" / "received.logs.jsonl"
        self.grpc, self.http = f"http://127.0.0.1:{grpc}", f"http://127.0.0.1:{http}"
        self._metrics = f"http://127.0.0.1:{metrics}/metrics"

    def count(self, metric, **labels):
        """One of its own metrics, summed over the series that have these labels."""
        total = 0.0
        for line in str(get(self._metrics, accept="text/plain") or "").splitlines():
            if re.match(rf"{metric}[ {{]", line) and all(f'{key}="{value}"' in line for key, value in labels.items()):
                total += float(line.rpartition(" ")[2])
        return total


@pytest.fixture(scope="session")
def start_collector(program, servers):
    """A function that starts a collector with files of compose/collector; whom it is not told of does not answer."""
    command = program("collector")

    def start(folder, *files, **environment):
        grpc_port, http, health, metrics, nowhere = free_ports(5)
        metrics = environment.pop("COLLECTOR_METRICS_PORT", metrics)
        settings = {
            "COLLECTOR_HOST": "127.0.0.1",
            "COLLECTOR_STATE": folder / "state",
            "COLLECTOR_GRPC_PORT": grpc_port,
            "COLLECTOR_HTTP_PORT": http,
            "COLLECTOR_HEALTH_PORT": health,
            "COLLECTOR_METRICS_PORT": metrics,
            "SPAN_METRICS_INTERVAL": "1s",
            "DECISION_WAIT_AFTER_ROOT": "1s",
            "JSONL_FOLDER": folder / "jsonl",
            "JAEGER_OTLP": f"127.0.0.1:{nowhere}",
            "TEMPO_OTLP": f"127.0.0.1:{nowhere}",
            "PROMETHEUS_OTLP": f"http://127.0.0.1:{nowhere}",
        }
        folder.mkdir(parents=True, exist_ok=True)
        configs = [f"--config={COMPOSE}/collector/{name}.yaml" for name in ("base", *files)]
        server = servers([command, *configs], folder, settings | environment, f"http://127.0.0.1:{health}/")
        return Collector(server, folder, grpc_port, http, metrics)

    return start


class Sink(trace_service_pb2_grpc.TraceServiceServicer):
    """A backend of the test: takes OTLP over gRPC, with gRPC's own limit of 4 MiB, and keeps the spans."""

    def __init__(self):
        (port,) = free_ports(1)
        self.otlp, self.largest = f"127.0.0.1:{port}", 0
        self._spans, self._lock, self._server = {}, threading.Lock(), None

    def start(self):
        self._server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self._server)
        assert self._server.add_insecure_port(self.otlp)
        self._server.start()
        return self

    def stop(self):
        if self._server is not None:
            self._server.stop(0).wait()
            self._server = None

    def Export(self, request, context):
        with self._lock:
            self.largest = max(self.largest, request.ByteSize())
            _by_id(MessageToDict(request), self._spans)
        return trace_service_pb2.ExportTraceServiceResponse()

    @property
    def spans(self):
        """What has arrived: `{trace id: {span id: plain span}}`."""
        with self._lock:
            return {trace: dict(spans) for trace, spans in self._spans.items()}


@pytest.fixture
def sink():
    """A function that starts a `Sink`."""
    started = []

    def start():
        started.append(Sink())
        return started[-1].start()

    yield start
    for one in started:
        one.stop()


@pytest.fixture(scope="session", name="poll")
def _poll():
    """`poll(look, what)`: `look()` until it returns something true."""
    return poll


@pytest.fixture(scope="session", name="written")
def _written():
    """A function: what spanloom wrote to the files of a folder, `{trace id: {span id: plain span}}`."""
    return written


@pytest.fixture(scope="session", name="services")
def _services():
    """A function: the services of docker-compose.yml with variables filled in."""
    return services


@pytest.fixture(scope="session", name="free_ports")
def _free_ports():
    """A function: so many ports that nobody listens at."""
    return free_ports


WORKLOAD = Path(__file__).with_name("workload.py")


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A function that runs a program under `spanloom run`, with content; returns what it wrote to its files."""

    def run(*program, folder=None, **environment):
        folder = folder or tmp_path_factory.mktemp("files")
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("OTEL_", "SPANLOOM_", "PYTEST_", "COV_"))
        }
        kept |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "SPANLOOM_MAX_VALUE_BYTES": "65536"}
        kept |= {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY"}
        done = subprocess.run(
            [sys.executable, "-m", "spanloom", "run", "--dir", str(folder), *map(str, program)],
            cwd=tmp_path_factory.mktemp("cwd"),
            env=kept | {name: str(value) for name, value in environment.items()},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return written(folder)

    return run


@pytest.fixture(scope="session")
def workload(run):
    """A function that runs `workload.py` for so many orders, sending to an OTLP/gRPC address as well."""

    def workload(orders, address=None, **environment):
        sending = {"OTEL_TRACES_EXPORTER": "otlp,jsonl", "OTEL_EXPORTER_OTLP_ENDPOINT": address} if address else {}
        return run(WORKLOAD, orders, **sending, **environment)

    return workload
