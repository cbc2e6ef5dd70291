"""`scripts/backends.py`: where programs are found, and what is said where they are not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "backends.py"


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """No program anywhere: an empty cache, and a folder alone on PATH."""
    cache, path = tmp_path / "cache", tmp_path / "path"
    cache.mkdir()
    path.mkdir()
    monkeypatch.setenv("SPANLOOM_BACKENDS_CACHE", str(cache))
    monkeypatch.setenv("PATH", str(path))
    return cache, path


def put(place, says=""):
    """A program that prints a line."""
    place.write_text(f"#!/bin/sh\necho '{says}'\n")
    place.chmod(0o755)
    return place


def script(*arguments):
    command = [sys.executable, SCRIPT, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))


def test_the_cache_comes_before_path(backends, empty):
    cache, path = empty
    on_path = put(path / "prometheus", "prometheus, version 3.99.0")
    assert backends.find("prometheus") == on_path

    kept = put(cache / f"prometheus-{backends.PROGRAMS['prometheus'].version}")

    assert backends.find("prometheus") == kept


@pytest.mark.parametrize(
    ("name", "command", "says", "taken"),
    [
        ("prometheus", "prometheus", "prometheus, version 2.42.0+ds", False),
        ("prometheus", "prometheus", "prometheus, version 3.5.0", False),
        ("prometheus", "prometheus", "prometheus, version 4.0.0", False),
        ("promtool", "promtool", "promtool, version 2.42.0+ds", True),
        ("jaeger", "jaeger", '{"gitCommit":"798e4b0","gitVersion":"v2.20.0","buildDate":"2026-07-20"}', True),
        ("jaeger", "jaeger", '{"gitVersion":"v1.60.0"}', False),
        ("tempo", "tempo", "tempo, version 3.1.0 (branch: main)", True),
        ("tempo", "tempo", "something else", False),
        ("collector", "otelcol-contrib", "otelcol-contrib version 0.165.0", True),
        ("collector", "otelcol-contrib", "otelcol-contrib version 0.130.0", False),
        ("collector", "otelcol", "otelcol version 0.158.0", True),
    ],
)
def test_programs_on_path_must_be_new_enough(backends, empty, name, command, says, taken):
    _, path = empty
    put(path / command, says)

    assert (backends.find(name) is not None) is taken


def test_what_is_missing_is_named_with_the_command(backends, empty):
    cache, _ = empty
    done = script("where")

    assert done.returncode == 1
    for name in backends.BUILT:
        assert f"{name} is not built: python scripts/backends.py build {name}" in done.stdout
    assert f"put tempo {backends.PROGRAMS['tempo'].version} on PATH, or into {cache} as tempo-" in done.stdout


def test_what_is_there_is_told_and_not_built_again(backends, empty):
    cache, path = empty
    put(path / "go", "go1.99.0")
    kept = put(cache / f"broker-{backends.PROGRAMS['broker'].version}")

    told, built = script("where", "broker"), script("build", "broker")

    assert (told.returncode, told.stdout.split()) == (0, ["broker", str(kept)])
    assert (built.returncode, built.stdout.split()) == (0, ["broker", str(kept)])


@pytest.mark.parametrize(
    ("arguments", "go", "message"),
    [
        (["build"], None, "Go is not installed: https://go.dev/doc/install (1.25 or newer)"),
        (["build"], "go1.19.8", "go1.19.8 is too old: Go 1.25 or newer is needed"),
        (["build", "tempo"], None, "tempo is not here: put tempo"),
        (["build", "zipkin"], None, "no program 'zipkin'; there are collector, jaeger"),
        (["where", "zipkin"], None, "no program 'zipkin'"),
    ],
)
def test_what_cannot_be_done_is_one_line(empty, arguments, go, message):
    _, path = empty
    if go:
        put(path / "go", go)
    done = script(*arguments)

    assert done.returncode == 2
    assert done.stderr.startswith("backends.py: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_build_that_fails_leaves_nothing(empty):
    cache, path = empty
    go = put(path / "go", "go1.99.0")
    go.write_text('#!/bin/sh\ncase "$1" in env) echo go1.99.0;; *) echo "no module proxy" >&2; exit 1;; esac\n')
    done = script("build", "broker")

    assert done.returncode == 2
    assert "no module proxy" in done.stderr
    assert "broker could not be built: go build" in done.stderr
    assert list(cache.iterdir()) == []
