"""What it costs to export a span, by exporter, with and without a spool: CPU time, to a server in another process.

    python benchmarks/delivery.py

"program" is the time of the thread that ends spans: what the program itself feels. "process" adds the threads that
send. Without a spool spans are exported in batches of 512, as the SDK's queue does in a thread of its own, so the
program feels next to nothing of it; with one each span is written as it ends. Medians over repeated runs, the ways
taking turns.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonl_export import BATCH, make_spans
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as OfficialGrpc
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as OfficialHttp

from spanloom_jsonl import JsonlSpanExporter
from spanloom_langfuse import LangfuseSpanExporter
from spanloom_otlp import GrpcSpanExporter, HttpSpanExporter, SpooledSpanExporter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection

    from opentelemetry.sdk.trace import ReadableSpan

ROUNDS = 9


def serve(connection: Connection) -> None:
    """Take everything, over HTTP and over gRPC; tells the ports."""
    import grpc
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    class Service(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request, context):
            return trace_service_pb2.ExportTraceServiceResponse()

    taker = grpc.server(ThreadPoolExecutor(2), options=[("grpc.max_receive_message_length", -1)])
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Service(), taker)
    port = taker.add_insecure_port("127.0.0.1:0")
    taker.start()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    connection.send((server.server_port, port))
    server.serve_forever()


class Way:
    """An exporter, and how spans get to it.

    Args:
        exporter: it.
        single: span by span, as they end; else in a batch.
    """

    def __init__(self, exporter: Any, *, single: bool) -> None:
        self.exporter = exporter
        self.single = single
        self.program: list[float] = []
        self.process: list[float] = []

    def measure(self, spans: Sequence[ReadableSpan]) -> None:
        """Export `spans` and wait until they are delivered."""
        thread, process = time.thread_time(), time.process_time()
        if self.single:
            for span in spans:
                self.exporter.export((span,))
        else:
            self.exporter.export(spans)
        self.program.append((time.thread_time() - thread) / len(spans))
        self.exporter.force_flush()
        self.process.append((time.process_time() - process) / len(spans))


def main() -> None:
    """Measure and print."""
    parent, child = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    server = context.Process(target=serve, args=(child,), daemon=True)
    server.start()
    http_port, grpc_port = parent.recv()
    base, grpc_address = f"http://127.0.0.1:{http_port}", f"http://127.0.0.1:{grpc_port}"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def langfuse() -> LangfuseSpanExporter:
            return LangfuseSpanExporter("pk-lf-1", "sk-lf-1", base)

        for label, content in (("no content", 0), ("short chats", 250), ("chats of 12 KB", 6000)):
            spans = make_spans(content)
            ways = {
                "official otlp, http": Way(OfficialHttp(f"{base}/v1/traces"), single=False),
                "otlp, http": Way(HttpSpanExporter(f"{base}/v1/traces"), single=False),
                "official otlp, grpc": Way(OfficialGrpc(grpc_address), single=False),
                "otlp, grpc": Way(GrpcSpanExporter(grpc_address), single=False),
                "langfuse": Way(langfuse(), single=False),
                "jsonl, batches": Way(JsonlSpanExporter(folder / "jsonl"), single=False),
                "jsonl, span by span": Way(JsonlSpanExporter(folder / "single"), single=True),
                "spool, otlp http": Way(
                    SpooledSpanExporter(HttpSpanExporter(f"{base}/v1/traces"), folder, "http"), single=True
                ),
                "spool, otlp grpc": Way(
                    SpooledSpanExporter(GrpcSpanExporter(grpc_address), folder, "grpc"), single=True
                ),
                "spool, langfuse": Way(SpooledSpanExporter(langfuse(), folder, "langfuse"), single=True),
            }
            for _ in range(ROUNDS + 1):  # the first round warms up
                for way in ways.values():
                    way.measure(spans)
                for path in folder.glob("*/*.traces.jsonl"):  # else the disk becomes what is measured
                    os.truncate(path, 0)
            print(f"\n{label}: {BATCH} spans")
            print(f"  {'µs of CPU for a span':24} {'program':>9} {'process':>9}")
            for way_name, way in ways.items():
                program, process = statistics.median(way.program[1:]), statistics.median(way.process[1:])
                felt = f"{program * 1e6:9.1f}" if way.single else f"{'-':>9}"
                print(f"  {way_name:24} {felt} {process * 1e6:9.1f}")
                way.exporter.shutdown()
    server.terminate()


if __name__ == "__main__":
    main()
