"""What the exporter reads from its arguments and the environment; what is wrong with it is said, never raised."""

import logging
import os
import re
from base64 import b64encode
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final
from urllib.parse import urlsplit

LOG: Final = logging.getLogger("spanloom_langfuse")

PUBLIC_KEY: Final = "LANGFUSE_PUBLIC_KEY"
SECRET_KEY: Final = "LANGFUSE_SECRET_KEY"  # noqa: S105  the name of the variable
BASE_URL: Final = "LANGFUSE_BASE_URL"
HOST: Final = "LANGFUSE_HOST"  # what it was called before
ENVIRONMENT: Final = "LANGFUSE_TRACING_ENVIRONMENT"
RELEASE: Final = "LANGFUSE_RELEASE"

_REGIONS: Final = {
    "EU": "https://cloud.langfuse.com",
    "US": "https://us.cloud.langfuse.com",
    "Japan": "https://jp.cloud.langfuse.com",
    "HIPAA": "https://hipaa.cloud.langfuse.com",
}
_OTLP: Final = "/api/public/otel"
_TRACES: Final = "/v1/traces"
_ENVIRONMENTS: Final = re.compile(r"(?!langfuse)[a-z0-9_-]{1,40}")

# How log lines go on after "Check ": keys and region are one question.
CREDENTIALS: Final = (
    f"{PUBLIC_KEY} and {SECRET_KEY}, and {BASE_URL}: keys belong to one project in one region "
    f"({', '.join(f'{region} {url}' for region, url in _REGIONS.items())}, or a server of your own)"
)
# And after "Check ", "Set " and "See ".
ADDRESS: Final = f"{BASE_URL} (the address of Langfuse 3.22 or later, such as {_REGIONS['EU']})"


@dataclass(frozen=True)
class Settings:
    """What is set.

    Attributes:
        endpoint: where traces go.
        headers: the only ones to send besides those that describe the body.
        environment: Langfuse's environment of the spans; None leaves that to their resource.
        release: likewise.
        trouble: why nothing can be sent, in one line that names the fix; None if it can.
    """

    endpoint: str
    headers: dict[str, str]
    environment: str | None
    release: str | None
    trouble: str | None


def settings(
    public_key: str | None = None,
    secret_key: str | None = None,
    base_url: str | None = None,
    environment: str | None = None,
    release: str | None = None,
) -> Settings:
    """Read them: the arguments, else the environment."""
    public, secret = _chosen(public_key, PUBLIC_KEY), _chosen(secret_key, SECRET_KEY)
    base = _chosen(base_url, BASE_URL) or _chosen(None, HOST) or _REGIONS["EU"]
    endpoint = _endpoint(base)
    return Settings(
        endpoint or f"{_REGIONS['EU']}{_OTLP}{_TRACES}",
        {
            "Authorization": f"Basic {b64encode(f'{public}:{secret}'.encode()).decode()}",
            "x-langfuse-ingestion-version": "4",
            "User-Agent": f"spanloom-langfuse/{_version()}",
        },
        _environment(_chosen(environment, ENVIRONMENT)),
        _chosen(release, RELEASE) or None,
        _trouble(public, secret, endpoint),
    )


def _chosen(given: str | None, name: str) -> str:
    return (given if given is not None else os.environ.get(name, "")).strip()


def _trouble(public: str, secret: str, endpoint: str | None) -> str | None:
    missing = [name for name, key in ((PUBLIC_KEY, public), (SECRET_KEY, secret)) if not key]
    if missing:
        are, keys = ("is", "key") if len(missing) == 1 else ("are", "keys")
        return (
            f"{' and '.join(missing)} {are} not set. Set the {keys} of your project (in Langfuse: Settings, API Keys), "
            f"or leave langfuse out of OTEL_TRACES_EXPORTER."
        )
    if public.startswith("sk-lf-") and secret.startswith("pk-lf-"):
        return f"{PUBLIC_KEY} and {SECRET_KEY} are each other's: exchange them."
    if endpoint is None:
        return f"{BASE_URL} is no address of a server. Set it to one such as {_REGIONS['EU']}."
    return None


def _endpoint(base: str) -> str | None:
    """The endpoint of a server, whatever part of it people have copied; None if `base` is no address.

    `http://` stays what it is: a server of one's own may have no TLS.
    """
    if "://" not in base:
        local = re.match(r"(localhost|127\.|\[::1\])", base)
        base = f"{'http' if local else 'https'}://{base}"
    try:
        parts = urlsplit(base)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not host or re.search(r"\s", base):
        return None
    path = parts.path.rstrip("/")
    for end in (_TRACES, _OTLP):
        path = path.removesuffix(end).rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path}{_OTLP}{_TRACES}"


def _environment(given: str) -> str | None:
    name = given.lower()
    if not name or _ENVIRONMENTS.fullmatch(name):
        return name or None
    LOG.warning(
        "%s=%r is no name of an environment: lower-case letters, digits, - and _, at most 40, and not beginning with "
        "langfuse. Spans are sent without it.",
        ENVIRONMENT,
        given,
    )
    return None


def _version() -> str:
    try:
        return version("spanloom")
    except PackageNotFoundError:
        return "0"
