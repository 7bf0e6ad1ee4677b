"""A new metric and a new reduction are one module and one YAML each: made here in a temporary directory, and run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlsys.defaults import ROOT

pytestmark = pytest.mark.slow

METRIC = '''
"""Canberra-like: the sum of |x - y| over 1 + |x - y|."""

from dataclasses import dataclass

import numpy as np

from mlsys.distance.language import jit, tl
from mlsys.distance.metrics import Metric


@jit
def soft_terms(x, y):
    d = tl.abs(x - y).to(tl.float64)
    return (d / (1.0 + d),)


@jit
def soft_finish(a, b, c):
    return a


@dataclass(frozen=True)
class Soft(Metric):
    name: str = "soft"
    sums = 1
    terms = soft_terms
    finish = soft_finish
    definition = "sum(abs(x - y) / (1 + abs(x - y)))"

    def rows(self, x, y, scratch, out):
        d = np.abs(x - y)
        np.sum(d / (1 + d), axis=1, out=out[0])

    def distance(self, sums):
        return float(sums[0])
'''

REDUCTION = '''
"""Gathers the pieces and adds up all at the end, on the CPU."""

from dataclasses import dataclass

import numpy as np
import torch

from mlsys.distance.metrics import Metric
from mlsys.distance.reductions import Running, Shape


@dataclass(frozen=True)
class Gather:
    name: str = "gather"

    def start(self, shape: Shape, metric: Metric) -> Running:
        return GatherRun(shape, metric)


class GatherRun:
    name, align, slots = "gather", 1, 2

    def __init__(self, shape, metric):
        self.shape, self.metric, self.totals = shape, metric, np.zeros(metric.sums)

    def add(self, x, y, first):
        if first == 0:
            self.totals[:] = 0
        out = np.empty((self.metric.sums, 1))
        u, v = x.double().numpy()[None], y.double().numpy()[None]
        self.metric.rows(u, v, np.empty_like(u), out)
        self.totals += out[:, 0]

    def finish(self):
        return torch.tensor(self.metric.distance(self.totals), dtype=self.shape.result_dtype)

    def sums(self):
        return torch.from_numpy(self.totals)
'''


@pytest.fixture
def extension(tmp_path: Path) -> Path:
    for group, name, target, text in (
        ("metric", "soft", "Soft", METRIC),
        ("reduction", "gather", "Gather", REDUCTION),
    ):
        (tmp_path / "conf" / group).mkdir(parents=True)
        (tmp_path / f"{name}.py").write_text(text)
        (tmp_path / "conf" / group / f"{name}.yaml").write_text(f"_target_: {name}.{target}\nname: {name}\n")
    return tmp_path


def run(extension: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, str(ROOT / "run.py"), *words, f"hydra.searchpath=[file://{extension}/conf]"]
    line += ["tracking=off", "size=3000", "repeats=2", "baselines=[numpy,torch_dot]", "warmup=1"]
    environment = {**os.environ, "PYTHONPATH": f"{extension}:{ROOT}", "TRITON_INTERPRET": "1"}
    return subprocess.run(line, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "words",
    [
        ["metric=soft", "reduction=blocked"],
        ["metric=soft", "reduction=single_pass"],
        ["metric=soft", "reduction=gather"],
        ["metric=cosine", "reduction=gather", "placement=host"],
    ],
    ids=" ".join,
)
def test_one_module_and_one_yaml_are_all_it_takes(extension: Path, outputs: Path, words: list[str]) -> None:
    done = run(extension, words)
    assert done.returncode == 0, done.stderr
    (path,) = outputs.rglob("record.json")
    content = json.loads(path.read_text())
    assert f"metric={content['config']['metric']['name']}" == words[0]
    assert content["results"]["relative_error"] <= 1e-6
    assert f"reduction={content['results']['reduction']}" == words[1]


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


@pytest.mark.parametrize("words", [["reduction=blocked"], ["reduction=single_pass"]], ids=" ".join)
def test_a_metric_that_is_wrong_in_all_its_forms_has_its_error_in_the_record(
    tmp_path: Path, outputs: Path, words: list[str]
) -> None:
    (tmp_path / "conf" / "metric").mkdir(parents=True)
    (tmp_path / "wrong.py").write_text(WRONG)
    (tmp_path / "conf" / "metric" / "wrong.yaml").write_text("_target_: wrong.Wrong\nname: wrong\n")
    done = run(tmp_path, ["metric=wrong", *words])
    (path,) = outputs.rglob("record.json")
    assert 0.5 <= json.loads(path.read_text())["results"]["relative_error"] <= 1.01, done.stderr
