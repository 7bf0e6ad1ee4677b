from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlsys.errors import UserError
from mlsys.loadtest.arrivals import make
from mlsys.loadtest.options import SCHEMAS, Load, split

CONF = Path(__file__).resolve().parents[2] / "conf" / "loadtest"


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_each_yaml_states_every_knob_of_its_schema_with_its_default(path: Path) -> None:
    section = yaml.safe_load(path.read_text())
    assert section.pop("defaults") == [f"/schema/loadtest/{path.stem}@_here_", "_self_"]
    schema = SCHEMAS[f"loadtest/{path.stem}"]
    assert section == {knob.name: knob.default for knob in fields(schema)}
    assert section["name"] == path.stem
    _, arrivals = split(section)
    assert make(arrivals).name == path.stem


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
    ],
)
def test_bad_values_are_named(knob: str, value: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        Load(**{knob: value})
    assert str(caught.value) == message


def test_requests_are_counted_unless_a_duration_is_given() -> None:
    assert Load().measured_requests == 60
    assert Load(duration_s=5).measured_requests is None
    assert Load(duration_s=5, requests=7).measured_requests == 7
