"""The files in `deploy/` fit the program: names, ports and times.

They are read by `buf`, which knows YAML and is there for the contracts.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.config.settings import Settings
from gateway.services.routing.route_table import build_route_table
from gateway.telegram.webhook import WEBHOOK_PATH
from tests.support.deployment import DEPLOY, documents, manifests, pod
from tests.support.services.samples import list_repository_services

SPARE_SECONDS = 5
"""What the end of a gateway may take beyond `DRAIN_TIMEOUT`: its connections end."""


def environments() -> Iterator[dict[str, str]]:
    """Yield what gateways get as their environment."""
    (compose,) = documents("compose.yaml")
    yield {
        name: re.sub(r"\$\{REDIS_PASSWORD:\?[^}]*\}", "a-good-password", value)
        for name, value in compose["services"]["gateway"]["environment"].items()
    }
    config, secret = (
        manifests()["ConfigMap", "gateway"],
        manifests()["Secret", "gateway"],
    )
    secrets = {
        name: value.replace("replace-me", "a-good-password")
        for name, value in secret["stringData"].items()
    }
    yield config["data"] | secrets


def test_every_manifest_is_in_the_plan() -> None:
    (plan,) = documents("kubernetes/kustomization.yaml")
    files = {path.name for path in (DEPLOY / "kubernetes").iterdir()}
    assert files == {*plan["resources"], "kustomization.yaml"}


def test_only_settings_are_set_and_every_service_has_a_target() -> None:
    """A misspelt name would be silence."""
    settings = {name.upper() for name in Settings.model_fields}
    services = build_route_table(list_repository_services()).service_names
    targets = {f"{name}_TARGET" for name in services}
    timeouts = {f"{name}_TIMEOUT" for name in services}
    for environment in environments():
        assert environment.keys() <= settings | targets | timeouts
        assert environment.keys() >= targets | {"HOST", "REDIS_URL"}
        assert all(isinstance(value, str) for value in environment.values())


def test_the_settings_are_good_but_for_the_secrets() -> None:
    for environment in environments():
        good = {
            "TELEGRAM_BOT_TOKEN": "123456:abc",
            "TELEGRAM_WEBHOOK_SECRET": "abc" * 6,
        }
        values = (environment | good).items()
        chosen: dict[str, Any] = {name.lower(): value for name, value in values}
        Settings(_env_file=None, **chosen)


def test_redis_keeps_what_it_was_given() -> None:
    """On disk within a second, and nothing is thrown away for want of room."""
    (compose,) = documents("compose.yaml")
    (container,) = pod("StatefulSet", "redis")["containers"]
    for command in (compose["services"]["redis"]["command"], container["args"]):
        assert command[0] == "redis-server"
        end = command.index("--user")
        options = dict(zip(command[1:end:2], command[2:end:2], strict=True))
        assert options["--appendonly"] == "yes"
        assert options["--appendfsync"] == "everysec"
        assert options["--maxmemory-policy"] == "noeviction"
    assert compose["services"]["redis"]["volumes"] == ["redis:/data"]
    assert container["volumeMounts"] == [{"name": "data", "mountPath": "/data"}]


def test_probes_services_and_scrapes_go_to_ports_that_are_open() -> None:
    """With the paths that are served there."""
    (container,) = pod("Deployment", "gateway")["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    config = manifests()["ConfigMap", "gateway"]["data"]
    assert ports == {"http": int(config["PORT"]), "ops": int(config["OPS_PORT"])}
    probes = {
        name: (probe["httpGet"]["port"], probe["httpGet"]["path"])
        for name, probe in container.items()
        if name.endswith("Probe")
    }
    assert probes == {
        "startupProbe": ("http", "/health"),
        "livenessProbe": ("http", "/health"),
        "readinessProbe": ("ops", "/ready"),
    }
    template = manifests()["Deployment", "gateway"]["spec"]["template"]
    assert (
        template["metadata"]["annotations"]["prometheus.io/port"]
        == (config["OPS_PORT"])
    )
    (port,) = manifests()["Service", "gateway"]["spec"]["ports"]
    assert port["targetPort"] == "http"
    (rule,) = manifests()["Ingress", "gateway"]["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert path["path"] == WEBHOOK_PATH
    assert path["backend"]["service"] == {
        "name": "gateway",
        "port": {"name": port["name"]},
    }


def test_labels_lead_to_the_gateways() -> None:
    """Of the deployment, the service, the budget and the wall around Redis."""
    deployment = manifests()["Deployment", "gateway"]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    budget = manifests()["PodDisruptionBudget", "gateway"]["spec"]
    (wall,) = manifests()["NetworkPolicy", "redis"]["spec"]["ingress"]
    assert deployment["selector"]["matchLabels"] == labels
    assert manifests()["Service", "gateway"]["spec"]["selector"] == labels
    assert budget["selector"]["matchLabels"] == labels
    assert wall["from"] == [{"podSelector": {"matchLabels": labels}}]
    scaler = manifests()["HorizontalPodAutoscaler", "gateway"]["spec"]
    assert scaler["scaleTargetRef"]["name"] == "gateway"
    assert scaler["minReplicas"] == 3


def test_containers_may_do_little() -> None:
    """Nothing is written outside of volumes, and nobody becomes more than he is."""
    (compose,) = documents("compose.yaml")
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["deploy"]["resources"]["limits"].keys() == {"memory", "pids"}
    added = {name for name, it in compose["services"].items() if "cap_add" in it}
    assert added == {"nginx"}


def test_redis_is_reached_by_the_gateways_alone() -> None:
    """In a network of its own, from which nothing leads out; no port is published."""
    (compose,) = documents("compose.yaml")
    services = compose["services"]
    assert services["redis"]["networks"] == ["store"]
    assert compose["networks"]["store"] == {"internal": True}
    there = {name for name, it in services.items() if "store" in it["networks"]}
    assert there == {"gateway", "redis"}
    assert {name for name, it in services.items() if "ports" in it} == {"nginx"}


def test_images_have_exact_versions() -> None:
    """The same files give the same containers."""
    (compose,) = documents("compose.yaml")
    (container,) = pod("StatefulSet", "redis")["containers"]
    images = [it["image"] for it in compose["services"].values() if "image" in it]
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    bases = re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    for image in [*images, container["image"], *bases]:
        assert re.search(r":\d+\.\d+\.\d+", image), image
    assert container["image"] in images


def test_no_module_comes_from_the_working_directory() -> None:
    """In the image and in the unit; workers see to it themselves."""
    assert "PYTHONSAFEPATH=1" in (DEPLOY / "Dockerfile").read_text()
    unit = (DEPLOY / "telegram-gateway.service").read_text()
    assert "\nEnvironment=PYTHONSAFEPATH=1\n" in unit


def test_nobody_is_killed_while_draining() -> None:
    """The grace period is longer than the drain and all that comes beside it."""
    for environment, grace in zip(environments(), graces(), strict=True):
        default = Settings.model_fields["drain_timeout"].default
        drain = float(environment.get("DRAIN_TIMEOUT", default))
        assert grace >= drain + SPARE_SECONDS


def graces() -> Iterator[float]:
    """Yield how long gateways have for their end."""
    (compose,) = documents("compose.yaml")
    yield float(compose["services"]["gateway"]["stop_grace_period"].removesuffix("s"))
    gateway = pod("Deployment", "gateway")
    (container,) = gateway["containers"]
    sleep, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    assert sleep == "sleep"
    yield gateway["terminationGracePeriodSeconds"] - float(seconds)


@pytest.mark.parametrize("name", ["Deployment gateway", "StatefulSet redis"])
def test_pods_may_do_little(name: str) -> None:
    """And get no variables that are taken for settings, such as REDIS_PORT."""
    kind, _, own = name.partition(" ")
    spec = pod(kind, own)
    assert spec["enableServiceLinks"] is False
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}


def test_the_image_runs_as_the_user_of_the_pod() -> None:
    """Kubernetes wants to see a number."""
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    user = pod("Deployment", "gateway")["securityContext"]["runAsUser"]
    assert f"\nUSER {user:.0f}\n" in dockerfile
    assert f"useradd --uid {user:.0f} " in dockerfile


def test_nginx_waits_longer_than_a_gateway_for_redis() -> None:
    """And leads every webhook request to the port of the gateways."""
    text = re.sub(r"#.*", "", (DEPLOY / "nginx.conf").read_text())
    assert text.count("{") == text.count("}")
    lines = filter(None, map(str.strip, text.splitlines()))
    assert [line for line in lines if line[-1] not in ";{}"] == []
    patience = Settings.model_fields["store_patience"].default
    webhook = text.partition(f"location = {WEBHOOK_PATH} {{")[2].partition("}")[0]
    (wait,) = re.findall(r"proxy_read_timeout (\d+)s;", webhook)
    assert float(wait) > patience + 1
    (compose,) = documents("compose.yaml")
    nginx, gateway = (compose["services"][name] for name in ("nginx", "gateway"))
    assert f"server gateway:{gateway['environment']['PORT']} " in text
    (port,) = nginx["ports"]
    assert f"listen {port.split(':')[-1]} " in text
    assert nginx["volumes"] == ["./nginx.conf:/etc/nginx/conf.d/default.conf:ro"]
