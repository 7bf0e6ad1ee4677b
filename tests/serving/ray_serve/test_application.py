"""What Ray is told of a configuration, and which mistakes are said before Ray starts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from sections import section, simulated

from mlsys import signatures
from mlsys.defaults import ROOT
from mlsys.errors import UserError
from mlsys.serving.balancer.options import is_replica
from mlsys.serving.modes.ray import ongoing, ray_batches
from mlsys.serving.ray_serve.summed import summed

pytest.importorskip("ray", reason="ray is not installed: pip install 'mlsys[ray]'")


def options(**knobs: Any) -> Any:
    return signatures.make("server", section("server/ray", **knobs))


def test_ray_takes_more_requests_than_a_replica_holds_so_that_the_door_refuses() -> None:
    config = simulated("ray", batching={"max_size": 8}, scheduling={"slots": 3})
    assert ongoing(options(max_queue=10), config) > 10 + 8
    assert ongoing(options(max_queue=10, replica="continuous"), config) < ongoing(
        options(max_queue=10), config
    )
    assert ongoing(options(max_ongoing_requests=7), config) == 7


def test_rays_batcher_has_the_size_and_the_wait_of_the_group_batching() -> None:
    assert ray_batches(section("batching/hybrid", max_size=4, timeout_ms=5.0)) == (4, 0.005)
    assert ray_batches(section("batching/size", max_size=2, max_wait_ms=1000.0)) == (2, 1.0)
    with pytest.raises(UserError, match=r"batching\.max_padded_tokens=100 needs server\.batcher=mlsys"):
        ray_batches(section("batching/hybrid", max_padded_tokens=100))


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"batcher": "vllm"}, "server.batcher=vllm is none of mlsys, ray"),
        ({"replica": "lb"}, "server.replica=lb is none of "),
        ({"replica": "ray"}, "server.replica=ray is none of "),
        ({"router": "luck"}, "server.router=luck is none of "),
        ({"router": "balancer", "proxy": "haproxy"}, "server.router=balancer is asked by server.proxy=http"),
        ({"replicas": 0}, "server.replicas=0 must be at least 1"),
        ({"num_gpus": -1.0}, "server.num_gpus=-1 must be at least 0"),
        ({"export": "serve.txt"}, "server.export=serve.txt is no YAML file's name"),
        ({"app": ""}, "server.app= is no name"),
        (
            {"autoscaling": {"min": 2, "max": None, "target": None}},
            "server.autoscaling.min=2 needs server.auto",
        ),
        (
            {"autoscaling": {"min": 3, "max": 2, "target": None}},
            "server.autoscaling.max=2 must be at least 3",
        ),
        (
            {"autoscaling": {"min": None, "max": "a", "target": None}},
            "server.autoscaling.max=a must be a num",
        ),
        (
            {"autoscaling": {"min": None, "max": 2, "target": None, "down_after_s": -1}},
            "server.autoscaling.down_after_s=-1 must be at least 0",
        ),
        ({"autoscaling": {"max": 2}}, "server.autoscaling has min, max, target, up_after_s and down_after_s"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_mistake_is_one_line_that_names_the_knob(knobs: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said.replace(".", r"\.")):
        options(**knobs)


def test_what_starts_replicas_is_no_replica() -> None:
    assert {mode for mode in ("batch", "continuous", "lb", "ray") if is_replica(mode)} == {
        "batch",
        "continuous",
    }


def test_counters_of_replicas_are_added_up() -> None:
    one = {"label": "replica-1", "batch_size": {"2": 1}, "waiting": 1, "pipeline": {"k": 2}, "state": "ready"}
    one |= {"in_flight": 3, "jobs": 1, "upstream": {"generator.requests": 5}}
    two = {"label": "replica-0", "batch_size": {"2": 2, "4": 1}, "waiting": 2, "in_flight": 4, "gpu": "0"}
    told = summed("ray", "ready", [one, two])
    assert told["batch_size"] == {"2": 3, "4": 1}
    assert told["waiting"] == 3
    assert (told["in_flight"], told["jobs"]) == (7, 1), "whichever of them is asked"
    assert told["front"] == {}, "the clients' connections are Ray's, and no replica's"
    assert told["upstream"] == {"generator.requests": 5}
    assert told["pipeline"] == {"k": 2}
    assert list(told["replicas"]) == ["replica-0", "replica-1"]
    assert told["replicas"]["replica-0"]["gpu"] == "0"


@pytest.mark.slow
def test_the_exported_file_is_what_rays_own_schema_and_builder_take(tmp_path: Path) -> None:
    path = tmp_path / "serve.yaml"
    words = ["server=ray", "server.router=round_robin", f"server.export={path}"]
    words += ["server.autoscaling.max=3", "server.autoscaling.down_after_s=20"]
    quiet = [
        "corpus=animals",
        "embedder=hashing",
        "generator=simulated",
        "tracking=off",
        f"hydra.run.dir={tmp_path}",
    ]
    subprocess.run([sys.executable, "run.py", *words, *quiet], cwd=ROOT, check=True, capture_output=True)
    found = yaml.safe_load(path.read_text())
    (application,) = found["applications"]
    (deployment,) = application["deployments"]
    assert deployment["autoscaling_config"]["max_replicas"] == 3
    taken = (
        "import json, sys, yaml; from ray.serve.schema import ServeDeploySchema as S;"
        "c = yaml.safe_load(open(sys.argv[1])); S.model_validate(c);"
        "from ray._common.utils import import_attr; a = c['applications'][0];"
        "d = import_attr(a['import_path'])(a['args'])._bound_deployment;"
        "s = d._deployment_config.autoscaling_config;"
        "print(d.name, s.max_replicas, s.downscale_delay_s, d._deployment_config.max_ongoing_requests);"
        "from mlsys.serving.ray_serve.application import router; from mlsys.serving.modes.ray import RayServe;"
        "knobs = {k: v for k, v in a['args']['server'].items() if k not in ('_target_', 'router')};"
        "router(RayServe(**knobs, router='balancer'), {'balancer': json.loads(sys.argv[2])})"
    )
    latency = json.dumps(section("balancer/peak_ewma"))
    done = subprocess.run(
        [sys.executable, "-c", taken, path, latency], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["Pipeline", "3", "20.0", str(deployment["max_ongoing_requests"])]
    assert "Ray's routers do not see how long an answer took, balancer=peak_ewma" in done.stderr
