"""A pytest plugin: another project's tests, with spanloom switched on or off, and what there is to say about them.

`framework_suites.py` has pytest load it by PYTEST_PLUGINS, so that pytest-xdist's workers load it too, and before the
tests import the framework, as `spanloom run` would. It reads from the environment:

    SUITE_REPORTS       the folder for its findings, one JSON file per process
    SUITE_INSTRUMENTOR  `module:class` of the instrumentor to switch on; not set: only warnings are noted

A finding is a list of texts under one of the headings in `Findings`, named by the test in which it was seen.
"""

from __future__ import annotations

import gc
import importlib
import json
import logging
import os
import re
import sys
from collections import Counter
from pathlib import Path
from traceback import walk_tb
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import warnings
    from collections.abc import Generator


class Findings:
    """What one process saw.

    Attributes:
        warnings: that pytest recorded, without what differs from run to run (addresses, ids).
        logged: lines that spanloom or the SDK logged at WARNING or above.
        current: spans that a test left current.
        spans: how many were started and ended.
    """

    def __init__(self) -> None:
        self.test = "(before the first test)"
        self.warnings: set[str] = set()
        self.logged: list[str] = []
        self.current: list[str] = []
        self.spans: Counter[str] = Counter()
        self.open: dict[int, str] = {}

    def write(self, path: Path) -> None:
        """As JSON; what is open now is left open for good."""
        gc.collect()
        found = {
            "warnings": sorted(self.warnings),
            "logged": self.logged,
            "current": self.current,
            "open": list(self.open.values()),
            "spans": self.spans,
        }
        path.write_text(json.dumps(found), encoding="utf-8")


class _Lines(logging.Handler):
    def __init__(self, findings: Findings) -> None:
        super().__init__(logging.WARNING)
        self._findings = findings

    def emit(self, record: logging.LogRecord) -> None:
        where, trace = "", sys.exc_info()[2]  # spanloom logs where it swallows: the error is at hand
        for frame, line in walk_tb(trace):
            where = f" [{frame.f_code.co_filename}:{line}]"
        self._findings.logged.append(f"{self._findings.test}: {record.name}: {record.getMessage()}{where}")


def _switch_on(findings: Findings, instrumentor: str) -> None:
    """With content, so that whatever may be recorded is, and with a real SDK that keeps no span alive."""
    from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider

    from spanloom import guard
    from spanloom.config import Config

    class Counts(SpanProcessor):
        def on_start(self, span: Span, parent_context: object = None) -> None:  # noqa: ARG002  the SDK's signature
            findings.spans["started"] += 1
            findings.open[span.get_span_context().span_id] = f"{findings.test}: {span.name}"

        def on_end(self, span: ReadableSpan) -> None:
            findings.spans["ended"] += 1
            if span.context is not None:
                findings.open.pop(span.context.span_id, None)

    guard.set_strict(False)  # as in a user's program
    logging.getLogger("spanloom").addHandler(_Lines(findings))
    logging.getLogger("opentelemetry").addHandler(_Lines(findings))
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Counts())
    module, _, name = instrumentor.partition(":")
    made = getattr(importlib.import_module(module), name)()
    made.instrument(tracer_provider=provider, config=Config(content=True))
    if not made.is_instrumented_by_opentelemetry:
        raise pytest.UsageError(f"{name} did not switch on; its log line above says why")


FINDINGS = Findings()
INSTRUMENTOR = os.environ.get("SUITE_INSTRUMENTOR")
if INSTRUMENTOR:
    _switch_on(FINDINGS, INSTRUMENTOR)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Note which test runs, and what it leaves current."""
    FINDINGS.test = item.nodeid
    result = yield
    if INSTRUMENTOR:
        from opentelemetry import context, trace

        span: Any = trace.get_current_span()
        if span is not trace.INVALID_SPAN:
            FINDINGS.current.append(f"{item.nodeid}: {getattr(span, 'name', span)}")
            context.attach(context.Context())  # one test's fault is not the next one's
    return result


def pytest_warning_recorded(warning_message: warnings.WarningMessage) -> None:
    """Called where the warnings summary is made: with pytest-xdist, in the controller."""
    text = re.sub(r"0x[0-9a-f]+|\b[0-9a-f]{8,}(-[0-9a-f]{4,})*\b|\d{3,}", "#", str(warning_message.message))
    kind = warning_message.category.__name__
    FINDINGS.warnings.add(f"{Path(warning_message.filename).name}: {kind}: {text.splitlines()[0] if text else ''}")


def pytest_unconfigure(config: pytest.Config) -> None:
    """The end of a worker, or of the controller."""
    worker: dict[str, str] = getattr(config, "workerinput", {})
    FINDINGS.write(Path(os.environ["SUITE_REPORTS"], f"{worker.get('workerid', 'main')}.json"))
