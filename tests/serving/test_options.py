"""Bad values are one line naming option and value; YAML states each knob, its class takes it."""

import inspect
from typing import Any

import pytest
from sections import made, section

from mlsys import defaults, keys, signatures
from mlsys.errors import UserError
from mlsys.serving.balancer.options import replica_options

MODES = [f"server/{name}" for name in defaults.options("server") if name != "none"]
POLICIES = [f"{group}/{name}" for group in ("batching", "balancer") for name in defaults.options(group)]
SERVICES = [name for name in defaults.options("server") if name not in ("none", "lb", "ray", "external")]
GIVEN = {"server/external": {"url": "http://127.0.0.1:8000"}}

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
    (
        "server/lb",
        {"replica": "lb"},
        f"server.replica=lb is none of {', '.join(SERVICES)}",
    ),
    ("server/lb", {"eject_max_s": 1.0}, "server.eject_max_s=1 must be at least 30"),
    (
        "server/lb",
        {"backends": ["localhost:80"]},
        "server.backends: localhost:80 is not an address such as http://127.0.0.1:8000",
    ),
    ("server/external", {}, "server.url is missing: give an address such as http://127.0.0.1:8000"),
    (
        "server/external",
        {"url": "example.org"},
        "server.url=example.org is not an address such as http://127.0.0.1:8000",
    ),
    (
        "server/external",
        {"url": "http://h", "key_header": "X Key"},
        "server.key_header=X Key is not a header's name such as X-API-Key",
    ),
    (
        "server/external",
        {"url": "http://h", "answer": "$.a"},
        "server.answer=$.a means nothing to server.api=rag, which has path",
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


@pytest.mark.parametrize(("option", "knobs", "line"), BAD_SERVER + BAD_BATCHING)
def test_a_mistake_is_one_line(option: str, knobs: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError) as caught:
        made(option, **knobs)
    assert str(caught.value) == line


@pytest.mark.parametrize("option", MODES + POLICIES)
def test_an_option_is_one_module_and_one_yaml_and_only_the_yaml_states_defaults(option: str) -> None:
    content = section(option, **GIVEN.get(option, {}))
    taken = inspect.signature(type(signatures.make(option.split("/")[0], content))).parameters
    knobs = {name: knob for name, knob in taken.items() if name != "clock"}  # which tests hand in
    assert set(content) == {"_target_", *knobs}
    assert not [name for name, knob in knobs.items() if knob.default is not knob.empty]
    assert content["name"] == content["_target_"].split(".")[-2] == option.split("/")[1]


def test_key_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLSYS_TEST_KEY", "s3cret")
    assert made("server/batch", api_key="env:MLSYS_TEST_KEY").api_key == "env:MLSYS_TEST_KEY"
    monkeypatch.delenv("MLSYS_TEST_KEY")
    with pytest.raises(UserError, match="api_key=env:MLSYS_TEST_KEY is empty"):
        made("server/batch", api_key="env:MLSYS_TEST_KEY")


def test_a_replica_is_what_its_modes_yaml_says_with_the_balancers_limits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLSYS_TEST_KEY", "s3cret")
    balancer = made(
        "server/lb",
        max_k=7,
        threads=2,
        port=8000,
        host="0.0.0.0",
        api_key="env:MLSYS_TEST_KEY",
        default_timeout_ms=5.0,
        max_connections=99,
        replica="queue",
    )
    assert replica_options(balancer, 4) == section("server/queue", max_k=7, threads=2, label="replica-4")


@pytest.mark.parametrize("mode", SERVICES)
def test_every_mode_that_answers_by_itself_may_be_a_replica(mode: str) -> None:
    balancer = made("server/lb", replica=mode)
    assert replica_options(balancer, 0) == section(f"server/{mode}", label="replica-0")
