"""What of a streamed run goes to W&B: its figures as numbers, its spreads and its course as plots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import synthetic

from mlsys.report.rows import Row, rows
from mlsys.tracking import wandb_contents


class Wandb:
    def Plotly(self, figure: Any) -> Any:
        return figure

    def Table(self, columns: list[str], data: list[Any], allow_mixed_types: bool) -> list[str]:
        return columns


def table(*loads: int) -> list[Row]:
    return rows([(Path("/o"), synthetic.streamed("continuous", loads=loads))])


def test_a_run_of_one_level_has_plots_of_that_level_and_one_of_several_has_all() -> None:
    spreads = {"plots/latency_spread", "plots/ttft_spread", "plots/itl_spread", "plots/timeline"}
    assert set(wandb_contents.media(Wandb(), "serving", table(20))) == spreads | {"rows"}
    several = set(wandb_contents.media(Wandb(), "serving", table(1, 20)))
    assert spreads | {"plots/ttft", "plots/tpot", "plots/throughput"} < several


def test_bins_and_courses_are_no_figures_of_a_dashboard() -> None:
    flat = wandb_contents.summary(table(20))
    columns = wandb_contents.media(Wandb(), "serving", table(20))["rows"]
    assert flat["ttft_ms.p50"] > 0
    assert not [name for name in (*flat, *columns) if "_ms.hist." in name or name == "timeline"]
