"""README's command lines, driven as commands."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import hydra
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from sections import configuration

from mlsys.defaults import ROOT, options
from mlsys.run import config

Typed = Callable[..., "tuple[int, str, list[str]]"]
README = (ROOT / "README.md").read_text()
FIRST, SECOND = re.findall(r"^    (pip install .*)$", README.split("## What else")[0], re.MULTILINE)


def test_the_first_screen_is_one_sentence_two_commands_and_one_figure() -> None:
    screen = README.split("\n## What else")[0]
    assert screen.count("\n    pip install") == 2
    assert len(re.findall(r"!\[[^]]+\]\(([^)]+)\)", screen)) == 1
    for path in re.findall(r"!\[[^]]+\]\(([^)]+)\)", README):
        assert (ROOT / path).exists(), path


def test_the_first_command_installs_this_and_measures(typed: Typed, outputs: Path) -> None:
    install, job = FIRST.split(" && ")
    assert install == 'pip install -c constraints.txt -e ".[page,wandb]"'
    words = shlex.split(job)
    assert words[:2] == ["python", "run.py"]
    small = [word.replace("1e6,1e8", "1e3,1e5") for word in words[2:]]
    assert small != words[2:]
    code, _, err = typed(*small)
    assert code == 0, err
    found = [json.loads(path.read_text()) for path in outputs.rglob("record.json")]
    assert sorted((entry["config"]["metric"]["name"], entry["results"]["n"]) for entry in found) == [
        ("cosine", 1000),
        ("cosine", 100_000),
        ("l2", 1000),
        ("l2", 100_000),
    ]


def test_the_second_command_is_what_ci_runs() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert SECOND == 'pip install -c constraints.txt -e ".[test]" && pytest -n auto --dist worksteal'
    found = subprocess.run(
        [
            "bash",
            "-c",
            next(line for line in script.splitlines() if line.startswith("command=")) + '; echo "$command"',
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == SECOND


@pytest.mark.parametrize("module", re.findall(r"python -m (mlsys[.\w]*)", README))
def test_every_module_that_is_run_is_there(module: str) -> None:
    path = ROOT / module.replace(".", "/")
    assert path.with_suffix(".py").exists() or (path / "__main__.py").exists()


def documented() -> list[str]:
    """What follows run.py on the indented lines of every README, without what is said beside them."""
    found = []
    pages = (
        ROOT / "README.md",
        *sorted(ROOT.glob("docs/*.md")),
        *sorted(ROOT.glob("experiments/*/README.md")),
    )
    for path in pages:
        text = re.sub(r"\\\n *", "", path.read_text())
        lines, shared = [], ""
        for is_shared, words in re.findall(
            r"^    (common=|(?:python3? |torchrun \S+ )run\.py)(.*)$", text, re.MULTILINE
        ):
            if is_shared == "common=":
                shared = words.strip('"')
            else:
                lines.append(words.replace("$common", shared))
        found += [re.split(r" {2,}(?![\w.]+=)", line)[0] for line in lines if "--help" not in line]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("line", documented())
def test_every_documented_line_composes_with_each_value_that_it_sweeps(line: str) -> None:
    pairs = [word.split("=", 1) for word in shlex.split(line) if word != "-m"]
    swept = {option: re.split(r",(?![^[]*])", values) for option, values in pairs}
    for number in range(max(map(len, swept.values()))):
        chosen = {option: values[number % len(values)] for option, values in swept.items()}
        assert whole(chosen)["n"] >= 1


def whole(chosen: dict[str, str]) -> DictConfig:
    """What Hydra makes of these words. Those that name options are composed once, which is what takes its time."""
    if any(not option[0].isalpha() or option.startswith("hydra") or "@" in option for option in chosen):
        config.register()
        with hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            return hydra.compose("config", [f"{option}={value}" for option, value in chosen.items()], True)
    made = configuration(*sorted(f"{group}={name}" for group, name in chosen.items() if options(group)))
    knobs = [f"{knob}={value}" for knob, value in chosen.items() if not options(knob)]
    for override in OverridesParser.create().parse_overrides(knobs):
        OmegaConf.update(
            made, override.key_or_group, override.value()
        )  # refuses what the schema does not know
    return made


@pytest.mark.parametrize(
    ("knob", "value"), [("batching.sise", "8"), ("size", "many"), ("metric", "l3"), ("no.such", "1")]
)
def test_a_documented_line_of_what_there_is_not_would_be_found(knob: str, value: str) -> None:
    with pytest.raises((OmegaConfBaseException, HydraException)):
        whole({"server": "batch", knob: value})
