"""A module in the folder is all that a metric or a reduction takes to be known by its name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mlsys.distance import baselines, distance, metrics, plan, reductions
from mlsys.errors import UserError

DOUBLE = """
from dataclasses import dataclass
from mlsys.distance.metrics.l1 import L1

@dataclass(frozen=True)
class {name}(L1):
    name: str = "twice_l1"

    def distance(self, sums):
        return 2 * sums[0]
"""
PLAIN = """
from dataclasses import dataclass
from mlsys.distance.reductions.blocked import Blocked

@dataclass(frozen=True)
class PlainBlocks(Blocked):
    name: str = "plain_blocks"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for package in (metrics, reductions):
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / package.__name__)])
        (tmp_path / package.__name__).mkdir()
        package._named.cache_clear()
    (tmp_path / metrics.__name__ / "twice_l1.py").write_text(DOUBLE.format(name="TwiceL1"))
    (tmp_path / metrics.__name__ / "no_class.py").write_text(DOUBLE.format(name="Other"))
    (tmp_path / reductions.__name__ / "plain_blocks.py").write_text(PLAIN)
    return tmp_path


def test_a_new_module_is_known_by_its_name_and_listed_in_errors(folder: Path) -> None:
    x, y = torch.zeros(4), torch.ones(4)
    assert float(distance(x, y, metric="twice_l1")) == 8.0
    assert float(plan(x, y, "twice_l1", reduction="plain_blocks")()) == 8.0
    with pytest.raises(UserError, match=r"metric=l3 is none of .*, no_class, sqeuclidean, twice_l1"):
        distance(x, y, metric="l3")
    with pytest.raises(UserError, match=r"reduction=tree is none of .*, plain_blocks, single_pass"):
        distance(x, y, reduction="tree")
    with pytest.raises(UserError, match=r"metric=no_class: .*no_class.py has no class NoClass"):
        distance(x, y, metric="no_class")


def test_only_options_are_listed() -> None:
    assert metrics.names() == ["cosine", "dot", "l1", "l2", "sqeuclidean"]
    assert reductions.names() == ["atomic", "auto", "blocked", "hierarchical", "single_pass"]
    assert "torch_native" in baselines.names()
