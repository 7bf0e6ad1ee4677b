"""Bad values are one line naming option and value, YAML and dataclasses agree."""

from dataclasses import asdict, fields
from pathlib import Path

import pytest
import yaml

from mlsys import keys
from mlsys.errors import UserError
from mlsys.serving import options
from mlsys.serving.batching.hybrid import Hybrid
from mlsys.serving.batching.size import Size
from mlsys.serving.batching.time import Time

CONF = Path(__file__).parents[2] / "conf"

BAD_SERVER = [
    (options.Batch, {"port": 65536}, "server.port=65536 must be between 0 (a free one) and 65535"),
    (options.Batch, {"max_queue": 0}, "server.max_queue=0 must be at least 1"),
    (options.Batch, {"threads": 0}, "server.threads=0 must be at least 1"),
    (options.Batch, {"default_timeout_ms": 0.0}, "server.default_timeout_ms=0 must be more than 0"),
    (
        options.Batch,
        {"default_timeout_ms": float("nan")},
        "server.default_timeout_ms=nan must be more than 0",
    ),
    (options.Batch, {"api_key": "s3cret"}, keys.REFUSED),
    (options.External, {"url": "http://127.0.0.1:8000", "api_key": "s3cret"}, keys.REFUSED),
    (options.Queue, {"workers": 0}, "server.workers=0 must be at least 1"),
    (options.LoadBalancer, {"replicas": 0}, "server.replicas=0 must be at least 1"),
    (options.LoadBalancer, {"replica": "lb"}, "server.replica=lb is none of baseline, queue, batch"),
    (options.LoadBalancer, {"eject_max_s": 1.0}, "server.eject_max_s=1 must be at least 30"),
    (
        options.LoadBalancer,
        {"backends": ["localhost:80"]},
        "server.backends: localhost:80 is not an address such as http://127.0.0.1:8000",
    ),
    (options.External, {}, "server.url=None is not an address such as http://127.0.0.1:8000"),
]
BAD_BATCHING = [
    (Hybrid, {"max_size": 0}, "batching.max_size=0 must be at least 1"),
    (Hybrid, {"timeout_ms": -1.0}, "batching.timeout_ms=-1 must be at least 0"),
    (Hybrid, {"linger_ms": float("inf")}, "batching.linger_ms=inf must be at least 0"),
    (Hybrid, {"max_padded_tokens": 0}, "batching.max_padded_tokens=0 must be more than 0"),
    (Size, {"max_wait_ms": -1.0}, "batching.max_wait_ms=-1 must be at least 0"),
    (Time, {"timeout_ms": -0.5}, "batching.timeout_ms=-0.5 must be at least 0"),
]


@pytest.mark.parametrize(("kind", "knobs", "line"), BAD_SERVER + BAD_BATCHING)
def test_a_mistake_is_one_line(kind, knobs, line):
    with pytest.raises(UserError) as caught:
        kind(**knobs)
    assert str(caught.value) == line


@pytest.mark.parametrize("path", options.SCHEMAS)
def test_yaml_and_dataclass_agree(path):
    content = yaml.safe_load((CONF / f"{path}.yaml").read_text())
    assert content.pop("defaults") == [f"/schema/{path}@_here_"]
    node = options.SCHEMAS[path]
    assert set(content) == {field.name for field in fields(node)}
    if path != "server/external":
        assert content == asdict(node())
    assert content["name"] == path.split("/")[1]


@pytest.mark.parametrize("path", [path for path in options.SCHEMAS if not path.startswith("server/ext")])
def test_yaml_builds_what_it_names(path):
    from hydra.utils import instantiate

    content = yaml.safe_load((CONF / f"{path}.yaml").read_text())
    del content["defaults"]
    made = instantiate(content)
    assert f"{type(made).__module__}.{type(made).__qualname__}" == content["_target_"]
    assert content["_target_"].split(".")[-2] == content["name"], "a file is named after its option"


def test_schemas_compose():
    from omegaconf import OmegaConf
    from omegaconf.errors import ConfigKeyError, ValidationError

    for node in options.SCHEMAS.values():
        OmegaConf.structured(node) if node is not options.External else None
    config = OmegaConf.structured(options.Batch)
    with pytest.raises(ValidationError):
        config.port = "many"
    with pytest.raises(ConfigKeyError):
        OmegaConf.merge(config, {"prot": 1})


def test_key_from_the_environment(monkeypatch):
    monkeypatch.setenv("MLSYS_TEST_KEY", "s3cret")
    assert options.Batch(api_key="env:MLSYS_TEST_KEY").key == "s3cret"
    assert options.Batch().key is None
    monkeypatch.delenv("MLSYS_TEST_KEY")
    with pytest.raises(UserError, match="api_key=env:MLSYS_TEST_KEY is empty"):
        options.Batch(api_key="env:MLSYS_TEST_KEY")


def test_a_replica_inherits_limits_and_nothing_else(monkeypatch):
    monkeypatch.setenv("MLSYS_TEST_KEY", "s3cret")
    balancer = options.LoadBalancer(
        max_k=7,
        threads=2,
        port=8000,
        host="0.0.0.0",
        api_key="env:MLSYS_TEST_KEY",
        default_timeout_ms=5.0,
        replica="queue",
    )
    replica = options.replica_options(balancer, 4)
    assert replica["max_k"] == 7
    assert replica["threads"] == 2
    assert replica["label"] == "replica-4"
    assert replica["_target_"] == "mlsys.serving.modes.queue.Queue"
    assert (replica["port"], replica["host"]) == (0, "127.0.0.1")
    assert replica["api_key"] is None
    assert replica["default_timeout_ms"] is None
