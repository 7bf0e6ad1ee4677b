"""Paths as their user types them: what a shell hands over is what is opened, whatever Hydra makes of it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import hydra
import numpy as np
import pytest

from mlsys.run import words

Typed = Callable[..., "tuple[int, str, list[str]]"]
NAMES = [
    *("~t.npy", "ü.npy", "日本.npy", "a (b)/v.npy", "a=b.npy", "a,b.npy", "a#b.npy", "a b.npy", " lead.npy"),
    *("it's.npy", 'q"q.npy', "[x].npy", "{x}.npy", "$x.npy", "${x}.npy", "a;b.npy", "a!b.npy", "a&b.npy"),
    *("a\\b.npy", 'a\\"b.npy', "a`b.npy", "a<b>.npy", "a:b.npy", "a*?.npy", "1e3", "null", "é, ö (1).npy"),
]


def composed(word: str) -> str:
    """What Hydra and OmegaConf make of the word; a whole configuration would take its time for each name."""
    with hydra.initialize(version_base="1.3", config_path=None):
        return str(hydra.compose(None, [word]).data.x)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_taken_by_the_name_that_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).touch()
    assert composed(*words.readable([f"+data.x={name}"])) == name
    assert composed(*words.readable(["-m", f"+data.x={name}"])[1:]) == name
    assert composed(*shlex.split(words.hint(f"+data.x={name}"))) == name


def test_commas_separate_files_in_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    line = ["-m", "data=file", "data.x=ü.npy,a (1).npy,plain.npy", "metric=l2,l1"]
    assert words.readable(line)[2:] == ['data.x="ü.npy","a (1).npy",plain.npy', "metric=l2,l1"]
    assert words.readable(["--multirun", "data.x=a.npy,b.npy"])[1:] == ["data.x=a.npy,b.npy"]
    Path("a.npy,b.npy").touch()
    assert words.readable(["--multirun", "data.x=a.npy,b.npy"])[1:] == ['data.x="a.npy,b.npy"']


def test_what_hydra_reads_rightly_and_other_options_stay_as_they_are() -> None:
    line = ["size=[", "data.x='a b.npy'", 'data.y="ü.npy"', "data.x=${oc.env:HOME}/x.npy", "data.x=null"]
    line += ["data.x=glob(*.npy)", "--cfg", "job", "server.backends=[a,b]", "~tracking"]
    assert words.readable(line) == line


def test_a_tilde_is_the_home_folder_of_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ü")
    assert words.readable(["hydra.run.dir=~/a"]) == ['hydra.run.dir="/home/ü/a"']


def test_a_sweep_over_such_files_is_measured(
    typed: Typed, outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["ü (1).npy", "a#=b.npy", "it's $x.npy"]
    for name in [*names, "y.npy"]:
        np.save(tmp_path / name, np.ones(50, np.float32))
    line = ("data=file", "data.y=y.npy", "repeats=1", "warmup=0", "baselines=[]", "device=cpu")
    code, _, err = typed("-m", f"data.x={','.join(names)}", *line)
    assert code == 0, err
    found = [json.loads(path.read_text())["results"]["data.x"] for path in outputs.rglob("record.json")]
    assert sorted(found) == sorted(names)


def test_a_list_of_faults_is_a_schedule() -> None:
    assert words.schedules(["-m", "fault=[kill,stop]", "fault=kill,stop"]) == [
        *("-m", "fault=schedule", "fault.faults=[kill,stop]", "fault=kill,stop")
    ]
