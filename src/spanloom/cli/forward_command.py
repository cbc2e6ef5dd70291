"""`spanloom forward`: send trace files to a backend, now or while they are written."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spanloom import environment
from spanloom.forward.cursor import Cursor
from spanloom.forward.reading import Reader
from spanloom.forward.work import BATCH_BYTES, Forwarder

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from spanloom_otlp import Delivering

_PROTOCOLS = {"grpc": "grpc", "http": "http/protobuf"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spanloom forward` to its parser."""
    parser.epilog = (
        "Each span arrives at least once. What was sent is remembered in the cursor file, so the same command again "
        "sends only what is new, also after it was killed. Exit code: 0 if everything was delivered, 1 if something "
        "was not, 2 for wrong usage."
    )
    parser.add_argument(
        "targets", nargs="+", metavar="FILE|FOLDER", help="OTLP/JSON lines (.jsonl, .jsonl.gz, .jsonl.zst), or folders"
    )
    parser.add_argument(
        "--to",
        choices=("otlp", "langfuse"),
        required=True,
        help="otlp: as the OTEL_EXPORTER_OTLP_* variables say; langfuse: as the LANGFUSE_* variables say",
    )
    parser.add_argument("--follow", action="store_true", help="wait for more, until Ctrl-C")
    parser.add_argument("--endpoint", metavar="URL", help="the backend's address, instead of the environment's")
    parser.add_argument("--protocol", choices=tuple(_PROTOCOLS), help="for --to otlp, instead of the environment's")
    parser.add_argument(
        "--cursor",
        metavar="FILE",
        help="where to remember what was sent (default: a hidden file beside the traces, for each backend its own)",
    )
    parser.add_argument(
        "--batch-bytes",
        type=_positive,
        default=BATCH_BYTES,
        metavar="N",
        help=f"send at most about so many bytes of lines at once (default: {BATCH_BYTES:,})",
    )


def run(args: argparse.Namespace) -> int:
    """Forward what `args` ask for.

    Returns:
        0 if everything was delivered, 1 if something was not, 2 for a request that cannot be meant.
    """
    missing = [target for target in args.targets if not Path(target).exists()]
    if missing:
        _say(f"there is no {missing[0]}")
        return 2
    try:
        exporter, endpoint = _exporter(args)
    except (ValueError, ImportError) as error:
        _say(str(error))
        return 2
    try:
        cursor = Cursor(Path(args.cursor) if args.cursor else _beside(args.targets, args.to, endpoint))
    except OSError as error:
        _say(f"the cursor {error.filename} cannot be read: {error.strerror}. Choose another one with --cursor.")
        return 2
    reader = Reader(args.targets, cursor, _say)
    forwarder = Forwarder(exporter, cursor, batch_bytes=args.batch_bytes, say=_say)
    try:
        if args.follow:
            forwarder.follow(reader)
        else:
            forwarder.once(reader)
    except KeyboardInterrupt:
        if not args.follow:
            forwarder.summary.stopped = "Interrupted."
    except OSError as error:
        forwarder.summary.stopped = (
            f"The cursor {cursor.path} cannot be written: {error.strerror or error}. Choose another one with --cursor."
        )
    finally:
        cursor.close()
        exporter.shutdown()
    return _tell(forwarder, reader, endpoint, cursor)


def _tell(forwarder: Forwarder, reader: Reader, endpoint: str, cursor: Cursor) -> int:
    summary = forwarder.summary
    parts = [f"{_counted(summary.delivered, 'span')} delivered to {endpoint}"]
    if summary.refused:
        parts.append(f"{summary.refused} refused there")
    if reader.broken:
        parts.append(f"{_counted(reader.broken, 'line')} left out")
    if reader.running:
        parts.append(f"{_counted(reader.running, 'span')} without an end left out")
    if not summary.delivered and reader.skipped:
        parts.append(f"what there is was delivered earlier (says {cursor.path})")
    if summary.stopped:
        _say(summary.stopped)
        parts.append("the rest was not sent; the same command goes on from there")
    _say("; ".join(parts))
    return 1 if summary.stopped or summary.refused or reader.broken else 0


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _exporter(args: argparse.Namespace) -> tuple[Delivering, str]:
    """Something that delivers, and where to.

    Raises:
        ValueError: a setting that cannot be right.
    """
    import spanloom_otlp

    if args.to == "langfuse":
        if args.protocol == "grpc":
            raise ValueError("Langfuse takes OTLP over HTTP only; leave --protocol out")
        from spanloom.installed import make_exporter

        langfuse: Any = make_exporter("langfuse", **({"base_url": args.endpoint} if args.endpoint else {}))
        return langfuse, langfuse.endpoint
    protocol = _PROTOCOLS.get(args.protocol) or environment.otlp_protocol()
    if protocol == "grpc":
        made = spanloom_otlp.GrpcSpanExporter(args.endpoint)
    elif protocol == "http/protobuf":
        endpoint = args.endpoint
        if endpoint and re.fullmatch(r"https?://[^/]+/?", endpoint):  # a base, as OTEL_EXPORTER_OTLP_ENDPOINT is
            endpoint = f"{endpoint.rstrip('/')}/v1/traces"
        made = spanloom_otlp.HttpSpanExporter(endpoint)
    else:
        raise ValueError(f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol} is not supported here; use grpc or http/protobuf")
    return spanloom_otlp.CompatSpanExporter(made) if spanloom_otlp.compat_asked() else made, made.endpoint


def _beside(targets: Sequence[str], to: str, endpoint: str) -> Path:
    """The default cursor: in the first folder, with the backend in its name, for there may be several."""
    first = Path(targets[0])
    place = re.sub(r"[^a-z0-9.]+", "-", endpoint.lower().partition("://")[2] or endpoint.lower()).strip("-")
    return (first if first.is_dir() else first.parent) / f".forward-{to}-{place[:100]}.cursor"


def _say(text: str) -> None:
    print(f"spanloom: {text}", file=sys.stderr)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number
