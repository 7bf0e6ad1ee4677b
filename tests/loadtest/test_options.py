from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from sections import composed, load, section

from mlsys.errors import UserError
from mlsys.loadtest.arrivals import make
from mlsys.loadtest.options import Load, split

CONF = Path(__file__).resolve().parents[2] / "conf" / "loadtest"


@pytest.mark.parametrize("name", sorted(path.stem for path in CONF.glob("[!_]*.yaml")))
def test_an_option_is_one_module_and_one_yaml_and_only_the_yaml_states_defaults(
    name: str, tmp_path: Path
) -> None:
    common, own = split(section(f"loadtest/{name}"))
    if name == "trace":  # nobody's trace is the default
        (tmp_path / "t.csv").write_text("timestamp,input_length\n0,1\n")
        own["path"] = str(tmp_path / "t.csv")
    knobs = inspect.signature(type(make(own))).parameters
    assert set(own) == {"_target_", *knobs}
    assert not [knob for knob in knobs.values() if knob.default is not knob.empty]
    assert own["name"] == own["_target_"].split(".")[-2] == name
    assert (common is None) == (name == "none")


@pytest.mark.parametrize(
    ("knob", "value", "message"),
    [
        ("requests", 0, "loadtest.requests=0 must be a whole number of at least 1"),
        ("requests", 2.5, "loadtest.requests=2.5 must be a whole number of at least 1"),
        ("repeats", 0, "loadtest.repeats=0 must be a whole number of at least 1"),
        ("warmup_requests", -1, "loadtest.warmup_requests=-1 must be a whole number of at least 0"),
        ("duration_s", 0, "loadtest.duration_s=0 must be more than 0"),
        ("timeout_s", -2.0, "loadtest.timeout_s=-2.0 must be more than 0"),
        ("slo_ms", float("nan"), "loadtest.slo_ms=nan must be more than 0"),
        ("k", 0, "loadtest.k=0 must be a whole number of at least 1"),
        ("stall_s", 0.0, "loadtest.stall_s=0.0 must be more than 0"),
        ("slo", "fast", "loadtest.slo=fast must be limits such as {ttft_ms: 500, e2e_ms: 5000}"),
        ("slo", {"p99_ms": 5}, "loadtest.slo has no p99_ms; it has ttft_ms, tpot_ms, e2e_ms"),
        ("slo", {"e2e_ms": -5}, "loadtest.slo.e2e_ms=-5 must be more than 0"),
        ("slo", {"ttft_ms": 500}, "loadtest.slo.ttft_ms=500 needs loadtest.stream=true"),
    ],
)
def test_bad_values_are_named(knob: str, value: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        Load(**load() | {knob: value})
    assert str(caught.value) == message


def test_the_limits_of_a_good_request_and_the_latency_that_was_there_before() -> None:
    three = {"e2e_ms": 5000, "tpot_ms": 100, "ttft_ms": 500}
    assert list(Load(**load(slo=three, stream=True)).limits.items()) == [
        ("ttft_ms", 500),
        ("tpot_ms", 100),
        ("e2e_ms", 5000),
    ]
    assert Load(**load(slo={"ttft_ms": 500}, slo_ms=900.0, stream=True)).limits == {
        "ttft_ms": 500,
        "e2e_ms": 900,
    }
    assert Load(**load()).limits == {}
    with pytest.raises(UserError) as caught:
        Load(**load(slo={"e2e_ms": 5000}, slo_ms=900.0))
    assert str(caught.value) == "loadtest.slo_ms=900 is another limit than loadtest.slo.e2e_ms=5000"


def test_requests_are_counted_unless_a_duration_is_given() -> None:
    assert Load(**load()).measured_requests(60) == 60
    assert Load(**load(duration_s=5)).measured_requests(60) is None
    assert Load(**load(duration_s=5, requests=7)).measured_requests(60) == 7


TWICE = """
from mlsys.loadtest.arrivals.closed import Closed


class Twice(Closed):
    def __init__(self, name: str, pairs: int) -> None:
        super().__init__(name, 2 * pairs)
"""


def test_a_new_arrival_process_has_what_every_load_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "arriving_twice.py").write_text(TWICE)
    (tmp_path / "conf" / "loadtest").mkdir(parents=True)
    (tmp_path / "conf" / "loadtest" / "twice.yaml").write_text(
        "defaults: [_load, _self_]\n_target_: arriving_twice.Twice\nname: twice\npairs: 2\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    words = (f"hydra.searchpath=[file://{tmp_path}/conf]", "loadtest=twice", "loadtest.requests=40")
    common, own = split(composed(*words)["loadtest"])
    assert common is not None
    assert common.requests == 40
    assert make(own).next_level([]) == 4
    with pytest.raises(UserError, match=r"^loadtest\.pairs=x must be a whole number$"):
        make(own | {"pairs": "x"})
