"""What a port speaks: found out by asking, where traces do not arrive and the protocol may be why."""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Generator

HTTP1: Final = "http/1.1"
HTTP2: Final = "h2"  # these two are also TLS's names for them (ALPN)

# HTTP/2's client speaks first (RFC 9113, 3.4): its preface and an empty SETTINGS frame. Only a server of HTTP/2
# answers with a frame, its own SETTINGS, which has type 4.
_OPENINGS: Final = {
    HTTP1: b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    HTTP2: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
}
_FRAME_HEAD: Final = 9
_SETTINGS: Final = 4


class Spoken(NamedTuple):
    """How a port answers.

    Attributes:
        tls: whether it wants TLS.
        protocols: of `HTTP1` and `HTTP2`, those it speaks; gRPC is HTTP/2.
    """

    tls: bool
    protocols: frozenset[str]


def spoken(host: str, port: int, seconds: float) -> Spoken | None:
    """Find out what `host` speaks at `port`; None where nothing is understood.

    Args:
        host: its name or address.
        port: which.
        seconds: how long each step of it may take.
    """
    # TLS first: to anything else some of its servers answer as if they spoke HTTP/1.
    for tls in (True, False):
        found = frozenset(name for name in _OPENINGS if _speaks(host, port, name, seconds, tls=tls))
        if found:
            return Spoken(tls, found)
    return None


def _speaks(host: str, port: int, protocol: str, seconds: float, *, tls: bool) -> bool:
    try:
        with _connected(host, port, protocol, seconds, tls=tls) as connection:
            connection.sendall(_OPENINGS[protocol])
            head = b""
            while len(head) < _FRAME_HEAD and (more := connection.recv(_FRAME_HEAD)):
                head += more
    except OSError:
        return False
    if protocol == HTTP1:
        return head.startswith(b"HTTP/")
    return len(head) >= _FRAME_HEAD and not head.startswith(b"HTTP/") and head[3] == _SETTINGS


@contextlib.contextmanager
def _connected(host: str, port: int, protocol: str, seconds: float, *, tls: bool) -> Generator[socket.socket]:
    with socket.create_connection((host, port), timeout=seconds) as plain:
        if not tls:
            yield plain
            return
        context = ssl.create_default_context()
        context.check_hostname = False  # whoever it is: nothing is told to it
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols([protocol])
        with context.wrap_socket(plain, server_hostname=host) as secure:
            yield secure
