"""Whether an OTLP endpoint takes spans; where it does not, whether it is spoken to as it wants to be."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from spanloom.doctor.finding import FAIL, Said
from spanloom.doctor.sending import sent
from spanloom.doctor.wire import HTTP1, HTTP2, Spoken, spoken

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
_TRACES_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
_PROTOCOL: Final = "OTEL_EXPORTER_OTLP_PROTOCOL"
_INSECURE: Final = ("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "OTEL_EXPORTER_OTLP_INSECURE")
_PATH: Final = "/v1/traces"
_PROBE_SECONDS: Final = 2.0


class Endpoint(NamedTuple):
    """Where traces go by OTLP.

    Attributes:
        protocol: `grpc` or `http/protobuf`.
        url: the address, with a scheme.
        setting: the variable that it comes from.
        tls: whether it is spoken to in TLS.
        insecure: the variable that has decided so; None where the address has.
    """

    protocol: str
    url: str
    setting: str
    tls: bool
    insecure: str | None

    @property
    def shown(self) -> str:
        """Without credentials and query."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def endpoint(env: Mapping[str, str], protocol: str) -> Endpoint:
    """What the environment says, as the official exporters understand it.

    Args:
        env: the environment.
        protocol: `grpc` or `http/protobuf`.
    """
    own, general = env.get(_TRACES_ENDPOINT, "").strip(), env.get(_ENDPOINT, "").strip()
    if protocol == "grpc":
        given = own or general or "http://localhost:4317"
        insecure = next((name for name in _INSECURE if env.get(name, "").strip()), None)
        # Without a scheme the exporter speaks TLS, which surprises most people.
        plain = given.startswith("http://") if insecure is None else env[insecure].strip().lower() == "true"
        url = given if "://" in given else f"{'http' if plain else 'https'}://{given}"
        return Endpoint(protocol, url, _TRACES_ENDPOINT if own else _ENDPOINT, not plain, insecure)
    url = own or (general or "http://localhost:4318").rstrip("/") + _PATH
    return Endpoint(protocol, url, _TRACES_ENDPOINT if own else _ENDPOINT, url.startswith("https://"), None)


def tried(where: Endpoint, seconds: float) -> Said:
    """Send a test span there.

    Args:
        where: what the environment says.
        seconds: how long it may take.
    """
    from spanloom_otlp import CompatSpanExporter, GrpcSpanExporter, HttpSpanExporter

    inner = (GrpcSpanExporter if where.protocol == "grpc" else HttpSpanExporter)(timeout=seconds)
    exporter = CompatSpanExporter(inner)
    to = f"otlp ({where.protocol}) to {where.shown}"
    said = sent(to, exporter, seconds)
    exporter.shutdown()
    if said.level != FAIL:
        return said
    found = _found(where, min(seconds, _PROBE_SECONDS))
    mended = list(_otherwise(where, found)) if found else []
    if mended:  # what the exporter has said then is about bytes that it does not know
        return Said(FAIL, f"{to}: {' '.join(mended)}")
    # gRPC repeats the address as it is.
    secret = urlsplit(where.url).netloc.rpartition("@")[0]
    text = said.text.replace(f"{secret}@", "") if secret else said.text
    hint = _path_hint(where) if re.search(r" answers 40[45]\b", text) else ""
    return Said(FAIL, f"{text.rstrip('.')}. {hint}" if hint else text)


def _found(where: Endpoint, seconds: float) -> Spoken | None:
    """What is spoken there; None where nothing is understood."""
    parts = urlsplit(where.url)
    try:
        host, port = parts.hostname, parts.port or (443 if where.tls else 80)
    except ValueError:  # no port: the exporter has said it
        return None
    return spoken(host, port, seconds) if host else None


def _otherwise(where: Endpoint, found: Spoken) -> Iterator[str]:
    """Yield what to set where an endpoint is spoken to in another way than it speaks."""
    if found.tls != where.tls:
        parts = urlsplit(where.url)
        base = f"{'https' if found.tls else 'http'}://{parts.netloc.rpartition('@')[2]}"
        mended = f"{where.setting}={base}{parts.path if where.setting == _TRACES_ENDPOINT else ''}"
        if where.insecure is not None:
            mended = f"{where.insecure}={str(not found.tls).lower()}"
        yield f"{'TLS' if found.tls else 'No TLS'} is spoken there: set {mended}."
    protocol = _protocol(where, found)
    if protocol != where.protocol:
        yield f"{'gRPC' if protocol == 'grpc' else 'HTTP'} is spoken there: set {_PROTOCOL}={protocol}."


def _path_hint(where: Endpoint) -> str:
    """What people get wrong about the path of OTLP over HTTP."""
    path = urlsplit(where.url).path
    if where.protocol != "grpc" and where.setting == _TRACES_ENDPOINT and not path.endswith(_PATH):
        return f"{_TRACES_ENDPOINT} is taken as it is: its path is usually {_PATH}."
    if where.protocol != "grpc" and path.endswith(_PATH * 2):
        return f"{_PATH} is added to {_ENDPOINT}: leave it out there."
    return ""


def _protocol(where: Endpoint, found: Spoken) -> str:
    """The protocol to use: the one that is used, unless only the other is spoken."""
    if where.protocol == "grpc":
        return "grpc" if HTTP2 in found.protocols else "http/protobuf"
    return where.protocol if HTTP1 in found.protocols else "grpc"
