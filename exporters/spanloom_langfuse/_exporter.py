"""The span exporter: each span in Langfuse's words, over OTLP."""

import os
import threading
from collections.abc import Sequence
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan

from spanloom_langfuse import _settings
from spanloom_langfuse._traces import Traces
from spanloom_langfuse._translate import About, translate
from spanloom_otlp import HttpSpanExporter, Outcome, Verdict, with_attributes


class LangfuseSpanExporter(HttpSpanExporter):
    """Sends spans to Langfuse's OTLP endpoint, `{base_url}/api/public/otel/v1/traces`, with gzip.

    What is sent are copies with Langfuse's attributes, so that it shows runs, agents, nodes, model calls and tools for
    what they are; the spans themselves stay as they are. No header of `OTEL_EXPORTER_OTLP_HEADERS` goes there.

    Nothing raises. Without keys nothing is exported, and one line of the log names what to set. What fails is tried
    again and told as `HttpSpanExporter` does.

    Args:
        public_key: of the project. Default: `LANGFUSE_PUBLIC_KEY`.
        secret_key: of the project. Default: `LANGFUSE_SECRET_KEY`.
        base_url: the server's address. Default: `LANGFUSE_BASE_URL`, else `LANGFUSE_HOST`, else
            `https://cloud.langfuse.com`.
        environment: Langfuse's environment. Default: `LANGFUSE_TRACING_ENVIRONMENT`, else what the spans' resource
            says (`deployment.environment.name`).
        release: the program's release. Default: `LANGFUSE_RELEASE`.
        timeout: seconds for an attempt. Default: `OTEL_EXPORTER_OTLP_TRACES_TIMEOUT`, else
            `OTEL_EXPORTER_OTLP_TIMEOUT`, else 10.
    """

    def __init__(
        self,
        public_key: str | None = None,
        secret_key: str | None = None,
        base_url: str | None = None,
        *,
        environment: str | None = None,
        release: str | None = None,
        timeout: float | None = None,
    ) -> None:
        self._settings: Final = _settings.settings(public_key, secret_key, base_url, environment, release)
        super().__init__(
            self._settings.endpoint,
            self._settings.headers,
            only_headers=True,
            timeout=timeout,
            compression="gzip",
            name="langfuse",
            setting=_settings.ADDRESS,
            credentials=_settings.CREDENTIALS,
            log=_settings.LOG,
        )
        self._told_untranslated = False
        self._begin()

    def deliver(self, spans: Sequence[ReadableSpan]) -> Outcome:
        """Translate `spans` and send them once. Never raises."""
        if self._settings.trouble is not None:
            return Outcome(Verdict.MISCONFIGURED, self._settings.trouble)
        return super().deliver(self._translated(spans))

    def _translated(self, spans: Sequence[ReadableSpan]) -> list[ReadableSpan]:
        if self._owner != os.getpid():  # another thread of our parent's may have held the lock
            self._begin()
        try:
            with self._lock:
                known = list(self._traces.about(spans))
        except Exception as error:
            self._tell_untranslated(error)
            known = [(span, About()) for span in spans]
        return [self._copy(span, about) for span, about in known]

    def _copy(self, span: ReadableSpan, about: About) -> ReadableSpan:
        try:
            changes = translate(span, about)
            return with_attributes(span, changes.attributes, remove=changes.remove, name=changes.name)
        except Exception as error:  # it is worth more as it is than not at all
            self._tell_untranslated(error)
            return span

    def _tell_untranslated(self, error: Exception) -> None:
        if not self._told_untranslated:
            self._told_untranslated = True
            _settings.LOG.warning(
                "A span is sent to Langfuse as it is, because it cannot be put into its words: %s: %s. Please report "
                "this; it is logged once.",
                type(error).__name__,
                error,
            )

    def _begin(self) -> None:
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._traces = Traces(self._settings.environment, self._settings.release)
