"""A metric of the user's own, outside the checkout: found by `--config-dir`, and found out where it is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from recipes import recipes

from mlsys.defaults import ROOT

pytestmark = pytest.mark.slow
Typed = Callable[..., "tuple[int, str, list[str]]"]

WRONG = '''
"""l1 times two, in all its forms."""

from dataclasses import dataclass

import numpy as np

from mlsys.distance.language import jit, tl
from mlsys.distance.metrics import Metric


@jit
def wrong_terms(x, y):
    return (2.0 * tl.abs(x - y).to(tl.float64),)


@jit
def wrong_finish(a, b, c):
    return a


@dataclass(frozen=True)
class Wrong(Metric):
    name: str = "wrong"
    sums = 1
    terms = wrong_terms
    finish = wrong_finish
    definition = "sum(abs(x - y))"

    @staticmethod
    def element(x, y):
        return (2 * np.float64(abs(x - y)),)

    def rows(self, x, y, scratch, out):
        np.sum(2 * np.abs(x - y), axis=1, out=out[0])

    def distance(self, sums):
        return float(sums[0])
'''


def written(home: Path, metric: str, text: str) -> list[str]:
    """A metric's two files, and the words of a sweep over its reductions."""
    (home / "own" / "metric").mkdir(parents=True)
    (home / f"{metric}.py").write_text(text)
    section = f"_target_: {metric}.{metric.title()}\nname: {metric}\n"
    (home / "own" / "metric" / f"{metric}.yaml").write_text(section)
    sizes = ["size=3000", "repeats=2", "warmup=1", "baselines=[numpy,torch_dot]"]
    return [f"--config-dir={home}/own", "-m", f"metric={metric}", "reduction=blocked,single_pass", *sizes]


def measured(outputs: Path, metric: str) -> dict[str, dict[str, Any]]:
    """What the records of the metric say of each reduction."""
    entries = [json.loads(path.read_text()) for path in outputs.rglob("record.json")]
    assert {entry["config"]["metric"]["name"] for entry in entries} == {metric}
    return {entry["results"]["reduction"]: entry["results"] for entry in entries}


def test_a_metric_needs_no_place_in_the_checkout(tmp_path: Path, outputs: Path) -> None:
    (text,) = (block.text for block in recipes()["A metric"] if block.title.startswith("mlsys/"))
    line = [sys.executable, str(ROOT / "run.py"), *written(tmp_path, "canberra", text), "tracking=off"]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}", "TRITON_INTERPRET": "1"}
    subprocess.run(line, env=environment, capture_output=True, check=True)
    found = measured(outputs, "canberra")
    assert set(found) == {"blocked", "single_pass"}
    for results in found.values():
        assert results["relative_error"] <= 1e-6
        assert results["speedup.numpy"] > 0


def test_a_metric_that_is_wrong_in_all_its_forms_has_its_error_in_the_record(
    tmp_path: Path, outputs: Path, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    code, _, err = typed(*written(tmp_path, "wrong", WRONG))
    assert code == 0, err
    found = measured(outputs, "wrong")
    assert set(found) == {"blocked", "single_pass"}
    for results in found.values():
        assert 0.5 <= results["relative_error"] <= 1.01
