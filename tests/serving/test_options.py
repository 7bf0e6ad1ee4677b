"""Bad values are one line naming option and value, YAML and dataclasses agree."""

import inspect
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
from sections import made, section

from mlsys import keys
from mlsys.errors import UserError
from mlsys.serving import options

CONF = Path(__file__).parents[2] / "conf"

BAD_SERVER = [
    ("server/batch", {"port": 65536}, "server.port=65536 must be between 0 (a free one) and 65535"),
    ("server/batch", {"max_queue": 0}, "server.max_queue=0 must be at least 1"),
    ("server/batch", {"threads": 0}, "server.threads=0 must be at least 1"),
    ("server/batch", {"default_timeout_ms": 0.0}, "server.default_timeout_ms=0 must be more than 0"),
    (
        "server/batch",
        {"default_timeout_ms": float("nan")},
        "server.default_timeout_ms=nan must be more than 0",
    ),
    ("server/batch", {"api_key": "s3cret"}, keys.REFUSED),
    ("server/external", {"url": "http://127.0.0.1:8000", "api_key": "s3cret"}, keys.REFUSED),
    ("server/queue", {"workers": 0}, "server.workers=0 must be at least 1"),
    ("server/lb", {"replicas": 0}, "server.replicas=0 must be at least 1"),
    ("server/lb", {"replica": "lb"}, "server.replica=lb is none of baseline, queue, batch"),
    ("server/lb", {"eject_max_s": 1.0}, "server.eject_max_s=1 must be at least 30"),
    (
        "server/lb",
        {"backends": ["localhost:80"]},
        "server.backends: localhost:80 is not an address such as http://127.0.0.1:8000",
    ),
    (
        "server/external",
        {"url": "example.org"},
        "server.url=example.org is not an address such as http://127.0.0.1:8000",
    ),
]
BAD_BATCHING = [
    ("batching/hybrid", {"max_size": 0}, "batching.max_size=0 must be at least 1"),
    ("batching/hybrid", {"timeout_ms": -1.0}, "batching.timeout_ms=-1 must be at least 0"),
    ("batching/hybrid", {"linger_ms": float("inf")}, "batching.linger_ms=inf must be at least 0"),
    ("batching/hybrid", {"max_padded_tokens": 0}, "batching.max_padded_tokens=0 must be more than 0"),
    ("batching/size", {"max_wait_ms": -1.0}, "batching.max_wait_ms=-1 must be at least 0"),
    ("batching/time", {"timeout_ms": -0.5}, "batching.timeout_ms=-0.5 must be at least 0"),
]


POLICIES = sorted(
    f"{group}/{path.stem}" for group in ("batching", "balancer") for path in (CONF / group).glob("[!_]*.yaml")
)


@pytest.mark.parametrize(("option", "knobs", "line"), BAD_SERVER + BAD_BATCHING)
def test_a_mistake_is_one_line(option: str, knobs: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError) as caught:
        made(option, **knobs)
    assert str(caught.value) == line


@pytest.mark.parametrize("path", options.SCHEMAS)
def test_yaml_and_dataclass_agree(path: str) -> None:
    content = section(path)
    node = options.SCHEMAS[path]
    assert set(content) == {field.name for field in fields(node)}
    if path != "server/external":
        assert content == asdict(node())
    assert content["name"] == path.split("/")[1]


@pytest.mark.parametrize("option", POLICIES)
def test_an_option_is_one_module_and_one_yaml_and_only_the_yaml_states_defaults(option: str) -> None:
    content = section(option)
    knobs = inspect.signature(type(made(option))).parameters
    assert set(content) == {"_target_", *knobs}
    assert not [name for name, knob in knobs.items() if knob.default is not knob.empty]
    assert content["name"] == content["_target_"].split(".")[-2] == option.split("/")[1]


def test_schemas_compose() -> None:
    from omegaconf import OmegaConf
    from omegaconf.errors import ConfigKeyError, ValidationError

    for node in options.SCHEMAS.values():
        OmegaConf.structured(node) if node is not options.External else None
    config = OmegaConf.structured(options.Batch)
    with pytest.raises(ValidationError):
        config.port = "many"
    with pytest.raises(ConfigKeyError):
        OmegaConf.merge(config, {"prot": 1})


def test_key_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLSYS_TEST_KEY", "s3cret")
    assert options.Batch(api_key="env:MLSYS_TEST_KEY").key == "s3cret"
    assert options.Batch().key is None
    monkeypatch.delenv("MLSYS_TEST_KEY")
    with pytest.raises(UserError, match="api_key=env:MLSYS_TEST_KEY is empty"):
        options.Batch(api_key="env:MLSYS_TEST_KEY")


def test_a_replica_inherits_limits_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
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
