"""The stack's files hold together: compose, configurations, dashboards, rules. Seconds; nothing is started."""

import json
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from spanloom import names

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "compose"
FILE = ROOT / "docker-compose.yml"
BOARDS = sorted((COMPOSE / "grafana" / "dashboards").glob("*.json"))
CONSTANTS = {value for key, value in vars(names).items() if key.isupper() and isinstance(value, str)}
COLLECTORS = ("collector", "collector-to-kafka", "collector-from-kafka")


def run(*command, **options):
    return subprocess.run(
        [str(part) for part in command], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120, **options
    )


# ---- docker-compose.yml ----


def test_the_compose_file_is_of_the_specification():
    if find_spec("check_jsonschema") is None:
        pytest.skip("check-jsonschema is not installed: pip install -e '.[dev]'")
    done = run(sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", FILE)

    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_itself_accepts_the_file():
    """What the schema does not say: dependencies, volumes, variables."""
    if shutil.which("docker-compose"):
        command = ("docker-compose",)
    elif shutil.which("docker") and run("docker", "compose", "version").returncode == 0:
        command = ("docker", "compose")
    else:
        pytest.skip(
            "neither docker compose nor docker-compose is installed (on Debian: apt-get install docker-compose)"
        )
    for profiles in ((), ("--profile", "langfuse", "--profile", "kafka")):
        done = run(*command, "-f", FILE, *profiles, "config", "-q")
        assert done.returncode == 0, done.stderr


def test_nothing_listens_beyond_this_machine_and_no_two_on_one_port(services):
    published = [port for service in services().values() for port in service.get("ports", ())]

    assert len(published) > 8
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert len({port.split(":")[1] for port in published}) == len(published)


def test_every_image_is_pinned_and_its_tag_a_variable():
    images = re.findall(r"^\s+image: (.*)$", FILE.read_text("utf-8"), re.MULTILINE)

    assert len(images) > 10
    for image in images:
        assert re.match(r"[^$\s]+:\$\{[A-Z_]+_TAG:-[\w.-]+\}", image), image
        assert ":-latest}" not in image or "minio" in image


def test_the_defaults_are_the_versions_that_are_tested(services, backends):
    tags = {name: services()[name]["image"].rpartition(":")[2].removeprefix("v") for name in ("tempo", "prometheus")}

    assert tags == {name: backends.PROGRAMS[name].version for name in tags}
    for name in COLLECTORS:
        assert services()[name]["image"].endswith(f":{backends.PROGRAMS['collector'].version}")
    assert set(
        re.findall(r"v\d[\d.]*$", (COMPOSE / "collector" / "builder.yaml").read_text("utf-8"), re.MULTILINE)
    ) == {f"v{backends.PROGRAMS['collector'].version}"}


def test_who_is_waited_for_until_healthy_has_a_health_check(services):
    every = services()
    for name, service in every.items():
        for other, wanted in service.get("depends_on", {}).items():
            healthy = wanted["condition"] == "service_healthy"
            assert healthy == ("healthcheck" in every[other]), f"{name} waits for {other}"
    # Images without a shell.
    assert not [name for name in (*COLLECTORS, "tempo") if "healthcheck" in every[name]]


def test_every_profile_starts_alone(services):
    """What a service waits for is started with it."""
    every = services()
    for name, service in every.items():
        for other in service.get("depends_on", {}):
            assert set(every[other].get("profiles", ())) <= set(service.get("profiles", ())), f"{name}: {other}"


def test_every_file_that_is_mounted_exists(services):
    mounted = [
        source
        for service in services().values()
        for source in (volume.split(":")[0] for volume in service.get("volumes", ()))
        if source.startswith(".")
    ]

    assert mounted
    assert [source for source in mounted if not (ROOT / source).is_dir()] == []


def test_every_setting_of_a_collector_is_one_that_its_files_read(services):
    for name in COLLECTORS:
        service = services()[name]
        files = [COMPOSE / "collector" / Path(part).name for part in service["command"]]
        text = "".join(file.read_text("utf-8") for file in files)
        read = set(re.findall(r"\$\{env:([A-Z_]+):-", text))
        shared = set(services()["collector"]["environment"])

        assert len(files) == 3
        assert not re.findall(r"\$\{env:[A-Z_]+\}", text), "a variable without a default"
        assert set(service["environment"]) - shared <= read
        if name == "collector":
            assert shared <= read


def test_langfuse_gets_all_of_its_initial_values(services):
    environment = services()["langfuse-web"]["environment"]

    assert {key for key in environment if key.startswith("LANGFUSE_INIT_")} == {
        f"LANGFUSE_INIT_{name}"
        for name in (
            *("ORG_ID", "ORG_NAME", "PROJECT_ID", "PROJECT_NAME", "PROJECT_PUBLIC_KEY", "PROJECT_SECRET_KEY"),
            *("USER_EMAIL", "USER_NAME", "USER_PASSWORD"),
        )
    }
    worker = services()["langfuse-worker"]["environment"]
    assert worker.items() <= environment.items()


def test_a_value_of_the_environment_is_taken(services):
    assert services()["jaeger"]["image"] == "jaegertracing/jaeger:2.20.0"
    assert services(JAEGER_TAG="9.9")["jaeger"]["image"] == "jaegertracing/jaeger:9.9"


# ---- the configurations ----


def test_attributes_in_the_collectors_files_are_ones_that_spanloom_writes():
    text = "".join(path.read_text("utf-8") for path in (COMPOSE / "collector").glob("*.yaml"))
    written = set(re.findall(r"(?:name|key): ((?:gen_ai|spanloom)\.[a-z_.]+)$", text, re.MULTILINE))

    assert len(written) > 6
    assert written <= CONSTANTS


SETS = (
    ("receive", "deliver"),
    ("receive", "to-kafka"),
    ("from-kafka", "deliver"),
    ("receive", "to-peers"),
    ("from-peers", "deliver"),
)


@pytest.mark.slow
@pytest.mark.parametrize("files", SETS, ids="+".join)
def test_the_collector_accepts_its_files(program, tmp_path, files):
    configs = [f"--config={COMPOSE}/collector/{name}.yaml" for name in ("base", *files)]
    done = run(program("collector"), "validate", *configs, env={"COLLECTOR_STATE": str(tmp_path)})

    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_jaeger_accepts_its_file(program, tmp_path):
    config = f"--config={COMPOSE}/jaeger/jaeger.yaml"
    done = run(program("jaeger"), "validate", config, env={"JAEGER_STATE": str(tmp_path)})

    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_tempo_accepts_its_file_without_a_warning_about_it(program, tmp_path):
    line = [program("tempo"), f"-config.file={COMPOSE}/tempo/tempo.yaml", "-config.expand-env=true", "-target=all"]
    done = run(*line, "-config.verify=true", env={"TEMPO_STATE": str(tmp_path)})

    assert done.returncode == 0, done.stdout + done.stderr
    assert "level=warn" not in done.stdout + done.stderr


def test_what_tempo_and_the_collector_would_cut_or_hide_by_default_is_set():
    """The defaults that make messages into something that is no JSON, or hide what is new or old."""
    tempo = yaml.safe_load((COMPOSE / "tempo" / "tempo.yaml").read_text("utf-8"))
    lines = yaml.safe_load((COMPOSE / "collector" / "receive.yaml").read_text("utf-8"))["receivers"]

    assert tempo["distributor"]["max_attribute_bytes"] == 0
    assert tempo["query_frontend"]["query_end_cutoff"] == "0s"
    assert tempo["overrides"]["defaults"]["global"]["max_bytes_per_trace"] >= 100_000_000
    for signal in ("traces", "metrics", "logs"):
        reader = lines[f"otlp_json_file/{signal}"]
        assert (reader["start_at"], reader["storage"], reader["include_file_name"]) == (
            "beginning",
            "file_storage",
            False,
        )
        assert reader["include"][0].endswith(f"/**/*.{signal}.jsonl")


# ---- Grafana ----


def provisioned():
    return yaml.safe_load((COMPOSE / "grafana" / "provisioning" / "datasources" / "spanloom.yaml").read_text("utf-8"))


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_complete(path):
    board = json.loads(path.read_text("utf-8"))
    known = {source["uid"]: source["type"] for source in provisioned()["datasources"]}
    panels = board["panels"]

    assert board["uid"] == f"spanloom-{path.stem}"
    assert len({panel["id"] for panel in panels}) == len(panels) > 5
    for panel in panels:
        for holder in (panel, *panel.get("targets", ())):
            if "datasource" in holder:
                assert known[holder["datasource"]["uid"]] == holder["datasource"]["type"]
        references = [target["refId"] for target in panel.get("targets", ())]
        assert len(set(references)) == len(references)
        if panel["type"] not in ("row", "alertlist"):
            assert references, panel["title"]
    cells = [
        (x, y)
        for box in (panel["gridPos"] for panel in panels)
        for x in range(box["x"], box["x"] + box["w"])
        for y in range(box["y"], box["y"] + box["h"])
    ]
    assert len(set(cells)) == len(cells), "panels lie on each other"
    assert max(x for x, _ in cells) < 24


def rules():
    """Every rule of Prometheus's."""
    return [
        rule
        for path in (COMPOSE / "prometheus" / "rules").glob("*.yaml")
        for group in yaml.safe_load(path.read_text("utf-8"))["groups"]
        for rule in group["rules"]
    ]


def test_dashboards_and_rules_use_metrics_and_labels_that_there_are():
    expressions = [rule["expr"] for rule in rules()] + [
        target["expr"]
        for path in BOARDS
        for panel in json.loads(path.read_text("utf-8"))["panels"]
        for target in panel.get("targets", ())
        if "expr" in target
    ]
    metric = r"\b((?:gen_ai|spanloom|traces)[a-z_:0-9]+?)(?:_seconds)?(?:_(?:bucket|sum|count|total))?(?=[{\[])"
    label = r"\b((?:gen_ai|spanloom)_[a-z_]+)\s*(?:=|!|,|\))"
    used = {name for expression in expressions for name in re.findall(metric, expression)}
    labels = {name for expression in expressions for name in re.findall(label, expression)} - used
    known = {name.replace(".", "_") for name in CONSTANTS}

    assert len(used) > 5
    assert used <= known | {rule.get("record") for rule in rules()} | {
        "traces_span_metrics_calls",
        "traces_span_metrics_duration",
    }
    assert len(labels) > 5
    assert labels <= known


# ---- Prometheus ----


def test_alert_rules_fire_when_they_should_and_only_then(program, tmp_path):
    promtool = program("promtool")
    checked = run(promtool, "check", "rules", *sorted((COMPOSE / "prometheus" / "rules").glob("*.yaml")))
    assert checked.returncode == 0, checked.stdout + checked.stderr

    tests = tmp_path / "rules_test.yaml"
    files = COMPOSE / "prometheus" / "rules" / "*.yaml"
    text = Path(__file__).with_name("rules_test.yaml").read_text("utf-8")
    tests.write_text(text.replace("[RULES]", f"['{files}']"), "utf-8")
    done = run(promtool, "test", "rules", tests)

    assert done.returncode == 0, done.stdout + done.stderr
    assert set(re.findall(r"alertname: (\w+)", text)) == {rule["alert"] for rule in rules() if "alert" in rule}


def test_prometheus_accepts_its_file(program, tmp_path):
    promtool = program("promtool")
    version = run(promtool, "--version").stdout + run(promtool, "--version").stderr
    if re.search(r"version [12]\.", version):
        pytest.skip("promtool is older than the settings in the file: python scripts/backends.py build promtool")
    text = (COMPOSE / "prometheus" / "prometheus.yaml").read_text("utf-8")
    config = tmp_path / "prometheus.yaml"
    config.write_text(text.replace("/etc/prometheus/", f"{COMPOSE}/prometheus/"), "utf-8")
    done = run(promtool, "check", "config", config)

    assert done.returncode == 0, done.stdout + done.stderr
