"""Every option of every group composes, and those that measure distances run at a tiny size."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.utils import get_class
from sections import composed, made, section

from mlsys import timing
from mlsys.defaults import ROOT
from mlsys.record import Results
from mlsys.run import build

CONF = ROOT / "conf"
OPTIONS = sorted(path.relative_to(CONF).with_suffix("") for path in CONF.glob("*/[!_]*.yaml"))
CHOICES = [option for option in OPTIONS if option.parts[0] != "experiment"]
BY_GROUP = {
    group: [option.parts[1] for option in CHOICES if option.parts[0] == group]
    for group in sorted({option.parts[0] for option in CHOICES})
}
GROUPS_OF_ONE_FACT = ("embedder", "generator", "reduction", "tracking")
KNOBS = [
    option for option in CHOICES if option.parts[0] in build.TYPED and option.parts != ("server", "none")
]
PRESETS = [option for option in OPTIONS if option.parts[0] == "experiment"]


@pytest.mark.parametrize("number", range(max(map(len, BY_GROUP.values()))))
def test_every_option_composes_and_names_a_class_that_is_there(number: int) -> None:
    """One of each group at a time: it takes as long as one alone."""
    choices = {group: names[number] for group, names in BY_GROUP.items() if number < len(names)}
    whole = composed(*(f"{group}={name}" for group, name in choices.items()))
    for group, name in choices.items():
        chosen = whole[group]
        if (group, name) == ("server", "none"):
            assert chosen is None
            continue
        assert chosen["name"] == name
        if "_target_" in chosen:
            assert get_class(chosen["_target_"])


@pytest.mark.parametrize("option", KNOBS, ids=str)
def test_each_value_in_yaml_is_what_its_class_takes_and_nothing_is_left_out(option: Path) -> None:
    group, said = option.parts[0], section(option.as_posix())
    taken = build._typed({group: said}, group)
    assert repr(sorted(taken.items())) == repr(sorted(said.items())), (
        "5 for a number would be another record than 5.0"
    )


@pytest.mark.parametrize("option", [o for o in CHOICES if o.parts[0] in build.GROUPS["distance"]], ids=str)
def test_what_a_caller_from_python_leaves_out_is_what_yaml_says(option: Path) -> None:
    said = section(option.as_posix())
    kind = get_class(said.pop("_target_"))
    assert {knob: one.default for knob, one in inspect.signature(kind).parameters.items()} == said


def test_no_value_stands_in_two_files_of_a_group() -> None:
    for group in GROUPS_OF_ONE_FACT:
        lines = [
            line.partition("#")[0].strip()
            for path in (CONF / group).glob("*.yaml")
            for line in path.read_text().splitlines()
            if "#" in line[1:]
        ]
        assert len(lines) == len(set(lines)), group


@pytest.mark.parametrize("option", PRESETS, ids=str)
def test_every_preset_composes_and_its_sweep_names_options_there_are(option: Path) -> None:
    preset = yaml.safe_load((CONF / option).with_suffix(".yaml").read_text())
    assert composed(f"experiment={option.parts[1]}")["n"] >= 1
    swept = preset.get("hydra", {}).get("sweeper", {}).get("params", {})
    for name, values in swept.items():
        if (CONF / name).is_dir():
            for value in str(values).split(","):
                assert (CONF / name / f"{value}.yaml").exists(), f"{name}={value}"


@pytest.mark.slow
@pytest.mark.parametrize("metric", sorted(path.stem for path in (CONF / "metric").glob("[!_]*.yaml")))
@pytest.mark.parametrize("reduction", sorted(path.stem for path in (CONF / "reduction").glob("[!_]*.yaml")))
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_metric_runs_with_every_reduction(
    metric: str, reduction: str, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(timing.COPY_BYTES, "cpu", 2**20)
    monkeypatch.setattr(timing, "last_level_cache_bytes", lambda: 2**18)
    plain = composed("size=3000", "repeats=1", "warmup=0", "baselines=[]")
    chosen = {"metric": section(f"metric/{metric}"), "reduction": section(f"reduction/{reduction}")}
    plain |= chosen | {"dtype": dtype}
    values: dict[str, Any] = {}
    for part in build.build(plain, tmp_path).measure():
        assert isinstance(part, Results)
        values |= part.values
    assert values["relative_error"] <= 1e-6
    assert values["reduction"] == (reduction if reduction != "auto" else values["reduction"]) != "auto"


@pytest.mark.parametrize("group", ["corpus", "embedder", "retriever", "generator"])
def test_parts_of_the_pipeline_are_cheap_to_construct(group: str) -> None:
    for path in (CONF / group).glob("[!_]*.yaml"):
        if path.stem not in {
            "files",
            "llama_cpp",
            "model",
            "openai",
            "openvino",
            "pgvector",
            "tei",
        }:  # these need a path, a model, an address, a program, an extra
            assert made(f"{group}/{path.stem}").name == path.stem


def test_the_first_file_a_newcomer_opens_names_every_group() -> None:
    text = (CONF / "config.yaml").read_text()
    for group in {option.parts[0] for option in OPTIONS} - {"experiment"}:
        assert f"- {group}: " in text
