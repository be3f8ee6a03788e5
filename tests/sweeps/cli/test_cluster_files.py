"""The ready cluster files: Ray's own validator takes them, and the sweeps in them are sound."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.kuberay.autoscaling_config import (
    _derive_autoscaling_config_from_ray_cr as autoscaling_config,
)
from ray.autoscaler._private.util import prepare_config, validate_config

from sweeps.spec.load import clusters, parse, ready_text

ROOT = Path(__file__).parents[3]
CONSTRAINTS = (ROOT / "constraints.txt").read_text(encoding="utf-8")
RAY = re.search(r"^ray==(.+)$", CONSTRAINTS, re.MULTILINE)[1]
"""The version that the clusters install."""
KUBERNETES = "cluster-kubernetes"
RAYS = sorted(set(clusters()) - {KUBERNETES})

# The fields that KubeRay's API types (ray.io/v1) have, as far as a RayJob of ours may need them.
JOB = {
    "activeDeadlineSeconds", "backoffLimit", "clusterSelector", "entrypoint",
    "entrypointNumCpus", "entrypointNumGpus", "entrypointResources", "jobId", "metadata",
    "rayClusterSpec", "runtimeEnvYAML", "shutdownAfterJobFinishes", "submissionMode",
    "submitterConfig", "submitterPodTemplate", "suspend", "ttlSecondsAfterFinished",
}  # fmt: skip
CLUSTER = {
    "authOptions", "autoscalerOptions", "enableInTreeAutoscaling", "gcsFaultToleranceOptions",
    "headGroupSpec", "headServiceAnnotations", "rayVersion", "suspend", "workerGroupSpecs",
}  # fmt: skip
HEAD = {"enableIngress", "headService", "rayStartParams", "serviceType", "template"}
WORKER = {
    "groupName", "idleTimeoutSeconds", "maxReplicas", "minReplicas", "numOfHosts",
    "rayStartParams", "replicas", "scaleStrategy", "suspend", "template",
}  # fmt: skip


@pytest.fixture(scope="module")
def manifests():
    return list(yaml.safe_load_all(ready_text(KUBERNETES)))


def test_there_is_one_for_each_place():
    assert sorted(clusters()) == [
        "cluster-aws", "cluster-gcp", "cluster-kubernetes", "cluster-local",
    ]  # fmt: skip


@pytest.mark.parametrize("name", RAYS)
def test_ray_takes_the_file(name):
    config = prepare_config(yaml.safe_load(ready_text(name)))
    validate_config(config)
    assert config["metadata"]["sweep"]["name"] == parse(ready_text(name)).name


@pytest.mark.parametrize("name", RAYS)
def test_ray_refuses_the_sweep_anywhere_else(name):
    """What the free-form `metadata` is needed for."""
    config = yaml.safe_load(ready_text(name))
    config["sweep"] = config.pop("metadata")["sweep"]
    with pytest.raises(Exception, match="'sweep' was unexpected"):
        validate_config(prepare_config(config))


@pytest.mark.parametrize("name", RAYS)
def test_every_start_of_ray_says_how_it_authenticates(name):
    config = yaml.safe_load(ready_text(name))
    starts = [
        command
        for key in ("head_start_ray_commands", "worker_start_ray_commands")
        for command in config[key]
        if "ray start" in command
    ]
    assert len(starts) == 2
    assert all(command.startswith("RAY_AUTH_MODE=token ") for command in starts)
    assert "~/.ray/auth_token" in config["file_mounts"]


@pytest.mark.parametrize("name", RAYS)
def test_every_command_is_one_that_bash_can_read(name):
    config = yaml.safe_load(ready_text(name))
    lists = [commands for key, commands in config.items() if key.endswith("_commands")]
    commands = [command for commands in lists for command in commands]
    assert len(commands) >= 5
    for command in commands:
        done = subprocess.run(["bash", "-n", "-c", command], capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b""), command


@pytest.mark.parametrize("name", ["cluster-aws", "cluster-gcp"])
def test_cloud_sweeps_train_on_gpus_only_and_images_have_the_clusters_ray(name):
    config = yaml.safe_load(ready_text(name))
    types = config["available_node_types"]
    assert "GPU" not in types["head"]["resources"]
    assert parse(ready_text(name)).resources.device == "gpu"
    assert types["gpu"]["min_workers"] == types["gpu"]["max_workers"] == config["max_workers"]
    assert config["docker"]["image"].startswith(f"rayproject/ray:{RAY}-py311")


def test_the_sweep_in_the_config_map_is_the_one_that_the_job_runs(manifests):
    sweep, job = manifests
    assert parse(sweep["data"]["sweep.yaml"]).name == job["metadata"]["name"]
    assert parse(sweep["data"]["sweep.yaml"]).resources.device == "gpu"
    assert job["spec"]["entrypoint"].startswith("sweeps run /sweep/sweep.yaml ")
    pod = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert mounts["sweep"] == "/sweep"
    assert volumes["sweep"]["configMap"]["name"] == sweep["metadata"]["name"]


def test_ray_derives_its_nodes_from_the_ray_job(manifests):
    """By the code with which Ray's autoscaler reads KubeRay's resources; it validates them too."""
    spec = manifests[1]["spec"]["rayClusterSpec"]
    name = {"name": "my-captions", "namespace": "default"}
    nodes = autoscaling_config({"metadata": name, "spec": spec})["available_node_types"]
    assert nodes["headgroup"]["resources"] == {"CPU": 4, "memory": 16 * 2**30}
    assert nodes["gpu"]["resources"] == {"CPU": 8, "GPU": 1, "memory": 32 * 2**30}
    assert (nodes["gpu"]["min_workers"], nodes["gpu"]["max_workers"]) == (2, 2)
    assert spec["rayVersion"] == RAY


def test_the_ray_job_has_only_fields_that_kuberay_knows(manifests):
    job = manifests[1]
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    assert set(job["spec"]) <= JOB
    assert set(cluster) <= CLUSTER
    assert set(cluster["headGroupSpec"]) <= HEAD
    for group in cluster["workerGroupSpecs"]:
        assert set(group) <= WORKER
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        (container,) = pod["containers"]
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())


@pytest.mark.parametrize("name", sorted(clusters()))
def test_init_writes_it(name, tmp_path, sweeps):
    code, out, _ = sweeps("init", name)
    assert code == 0
    assert f"wrote {name}.yaml; edit it, as its first lines say" in out
    assert (tmp_path / f"{name}.yaml").read_text() == ready_text(name)


def test_init_names_recipes_and_clusters(sweeps):
    code, _, said = sweeps("init", "cluster-asw")
    assert code == 2
    assert "quickstart" in said
    assert "(did you mean cluster-aws?)" in said
