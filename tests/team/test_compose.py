"""The files of the container's way: what `docker compose` would read, checked without it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
MLFLOW = ROOT / "mlflow"
TEXT = (MLFLOW / "compose.yaml").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load(TEXT)
SERVICES = COMPOSE["services"]
SECRETS = ("PASSWORD", "SECRET", "KEY")
EXAMPLE = dict(
    line.split("=", 1)
    for line in (MLFLOW / ".env.example").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
)
VARIABLE = re.compile(r"\$\{(\w+)([^}]*)\}")


@pytest.fixture(params=SERVICES)
def service(request):
    return SERVICES[request.param]


def runs_on(service):
    return service.get("restart") != "no"


def test_ports_are_open_to_this_machine_alone():
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert ports == ["127.0.0.1:${MLFLOW_PORT:-5000}:5000"]
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    outside = [name for name, service in SERVICES.items() if "outside" in service["networks"]]
    assert outside == ["mlflow"]


def test_what_runs_on_is_watched_and_started_again(service):
    if runs_on(service):
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    else:
        assert service["healthcheck"] == {"disable": True}


def test_a_service_has_few_rights_and_a_limit(service):
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}


def test_images_are_pinned(service):
    name, _, tag = service["image"].partition(":")
    assert re.fullmatch(r"\d+\.\d+(\.\d+)?(-\w+)?", tag), f"{name}:{tag}"


def test_volumes_are_named(service):
    for volume in service.get("volumes", ()):
        assert volume.partition(":")[0] in COMPOSE["volumes"]


def test_a_service_waits_until_what_it_needs_is_ready():
    assert SERVICES["mlflow"]["depends_on"] == {
        "postgres": {"condition": "service_healthy"},
        "bucket": {"condition": "service_completed_successfully"},
    }
    assert SERVICES["bucket"]["depends_on"] == {"seaweedfs": {"condition": "service_healthy"}}


def test_no_secret_stands_in_a_file_and_a_missing_one_stops_the_start():
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if any(word in name for word in SECRETS):
                assert re.fullmatch(r"\$\{\w+:\?.+\}", value), name
    for name, value in EXAMPLE.items():
        assert not (any(word in name for word in SECRETS) and value), name


def test_every_variable_is_explained_and_every_explained_one_used():
    used = dict(VARIABLE.findall(TEXT))
    assert used.keys() == EXAMPLE.keys()
    assert {name for name, rest in used.items() if rest.startswith(":?")} == {
        name for name, value in EXAMPLE.items() if not value
    }


def test_the_image_has_the_packages_that_were_tested():
    pins = dict(re.findall(r"^    ([\w-]+)==([\d.]+)", dockerfile(), re.MULTILINE))
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8").lower()
    assert len(pins) == 6
    for name, version in pins.items():
        assert re.search(rf"^{re.escape(name.lower())}=={re.escape(version)}$", constraints, re.M)
    assert f"mlflow=={SERVICES['mlflow']['image'].partition(':')[2]}" in dockerfile()


def test_the_image_is_pinned_and_leaves_root_and_can_dump_the_database():
    assert re.search(r"^FROM python:3\.\d+\.\d+-slim-\w+$", dockerfile(), re.MULTILINE)
    assert re.search(r"^USER team$", dockerfile(), re.MULTILINE)
    assert "HEALTHCHECK" in dockerfile()
    client = re.search(r"postgresql-client-(\d+)", dockerfile())[1]
    assert SERVICES["postgres"]["image"].startswith(f"postgres:{client}.")


def dockerfile():
    return (MLFLOW / "Dockerfile").read_text(encoding="utf-8")


@pytest.mark.parametrize("script", sorted(MLFLOW.glob("*.sh")), ids=lambda path: path.name)
def test_scripts_parse_and_stop_at_the_first_error(script):
    subprocess.run(["bash", "-n", str(script)], check=True)
    text = script.read_text(encoding="utf-8")
    if script.name != "settings.sh":  # sourced by the others
        assert os.access(script, os.X_OK)
        assert "set -euo pipefail" in text


def test_a_server_without_its_secrets_says_which_one(tmp_path):
    done = subprocess.run(
        [str(MLFLOW / "serve.sh")], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], "PGPASSWORD": "x"},
    )  # fmt: skip
    assert done.returncode != 0
    assert "MLFLOW_AUTH_ADMIN_PASSWORD: must be the password of the first admin" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_bucket_is_made_once(store):
    """The one-shot service's own command, against an S3 store."""
    address, client = store
    service = SERVICES["bucket"]
    environment = {
        **os.environ, "MLFLOW_S3_ENDPOINT_URL": address, "ARTIFACTS": "s3://new-one/artifacts",
        "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": "us-east-1",
    }  # fmt: skip
    assert service["environment"]["ARTIFACTS"].startswith("s3://")
    for _ in range(2):
        subprocess.run([sys.executable, *service["command"][1:]], env=environment, check=True)
    assert [b["Name"] for b in client.list_buckets()["Buckets"]].count("new-one") == 1
