"""What users write that cannot be is one line that names option and value, and a non-zero exit. In this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mlsys.defaults import ROOT
from mlsys.errors import MISUSE
from mlsys.quantities import cores
from mlsys.run import cli, live

Typed = Callable[..., "tuple[int, str, list[str]]"]
SIMULATED = "server=batch generator=simulated embedder=hashing corpus=animals"
REFUSED = [
    (
        "server=null",
        "server=null is not an option; there are: baseline, batch, continuous, external, lb, none, queue",
    ),
    ("experiment=null", "experiment=null is not an option; there are: balancing_policies, "),
    ("metric=3", "metric=3 is not an option; there are: cosine, dot, l1, l2, sqeuclidean"),
    ("metric=true", "metric=true is not an option"),
    ("-m metric=l1,null", "metric=null is not an option"),
    ("-m metric=range(1,3)", "Config group override must be a string or a list. Got int"),
    ("=3", "=3 names no option; --help lists them"),
    ("foo", "foo: Error parsing override 'foo'"),
    ("-m metric=l1,l2 --cfg job", "-m does not go with --cfg and --info, which show one configuration"),
    (
        "baselines=numpy,torch",
        "baselines=numpy,torch: -m sweeps over commas; a list is written baselines=[numpy,torch]",
    ),
    ("baselines=numpy", "baselines=numpy is no list: write baselines=[numpy]"),
    ("-m baselines=numpy,torch", "baselines=numpy is no list: write baselines=[numpy]"),
    ("data.x=a.npy", "data=random has no x; data=file has"),
    ("loadtest=poisson loadtest.concurrency=4", "loadtest=poisson has no concurrency; loadtest=closed has"),
    (
        "batching=size batching.timeout_ms=5",
        "batching=size has no timeout_ms; batching=hybrid, batching=time have",
    ),
    (
        "-m server=baseline,batch server.max_queue=64",
        "server is swept, and server=none, from which the sweep starts, has no max_queue: write ++server.max_queue=64",
    ),
    (
        "experiment=seed_serving server.max_queue=64",
        "server is swept, and server=none, from which the sweep starts, has no max_queue: write ++server.max_queue=64",
    ),
    ("metric.foo=3", "there is no option metric.foo; --help lists the options"),
    ("seed=1.5", "seed=1.5: Value '1.5' of type 'float' could not be converted to Integer"),
]


@pytest.mark.parametrize(("line", "said"), REFUSED, ids=[line for line, _ in REFUSED])
def test_what_cannot_be_composed_is_one_line(typed: Typed, outputs: Path, line: str, said: str) -> None:
    code, out, err = typed(*line.split())
    assert code == MISUSE
    assert out == ""
    assert len(err) == 1
    assert err[0].startswith(said)
    assert not outputs.exists() or not list(outputs.rglob("record.json"))


FAILED = [
    (
        "experiment=overload loadtest=closed",
        "experiment=overload sets loadtest.request_rate, which loadtest=closed does not have: leave one out",
    ),
    (f"{SIMULATED} batching.max_size=abc", "batching.max_size=abc must be a whole number"),
    (f"{SIMULATED} loadtest.requests=abc", "loadtest.requests=abc must be a whole number or null"),
    ("seed=-1", "seed=-1 must be at least 0"),
    ("seed=-1 workload=search", "seed=-1 must be at least 0"),
    ("seed=99999999999999999999", "seed=99999999999999999999 must be less than 2^63"),
    ("threads=0", "threads=0 must be at least 1"),
    ("threads=100000", f"threads=100000 must be at most {cores()}, the CPU cores here"),
    (
        f"{SIMULATED} server.threads=100000",
        f"server.threads=100000 must be at most {cores()}, the CPU cores here",
    ),
    ("memory_budget=1XB", "memory_budget=1XB is not an amount of memory such as 256MiB or 1GiB"),
    ("time_limit_s=inf", "time_limit_s=inf must be more than 0 and finite"),
    ("baselines=[nonsense]", "baselines=[nonsense] is not a baseline; there are: cupy, "),
    ("workload=search baselines=[nonsense]", "baselines=[nonsense] is not a baseline; there are: cupy, "),
    ("+server.max_queue=64", "server has values but no option is chosen: server=baseline or "),
    ("+metric.foo=abc", "metric=l2 has no foo; it has "),
    (f"{SIMULATED} +balancer.weight=2", "balancer=round_robin has no weight; it has "),
    (
        f"{SIMULATED} loadtest.k=1000",
        "loadtest.k=1000 is more than server.max_k=20, which the service answers",
    ),
    ("size=nan", "size=nan is not a whole number"),
    ("data=file data.x=absent.npy data.y=absent.npy", "data.x=absent.npy"),
    ("workload=serving", "workload=serving does not go with server=none"),
]


@pytest.mark.parametrize(("line", "said"), FAILED, ids=[line for line, _ in FAILED])
def test_what_cannot_run_is_one_line_and_a_record(typed: Typed, outputs: Path, line: str, said: str) -> None:
    code, out, err = typed(*line.split())
    assert code == cli.FAILED
    assert out == ""
    assert err[-1].startswith(said)
    assert sum(each.startswith(said) for each in err) == 1
    (path,) = outputs.rglob("record.json")
    assert json.loads(path.read_text())["error"].startswith(f"UserError: {said}")
    assert not list(outputs.rglob("traceback.txt"))


@pytest.mark.parametrize("placement", ["device", "host"])
def test_vectors_for_which_there_is_no_memory_say_what_does_stream(typed: Typed, placement: str) -> None:
    code, _, err = typed("size=1e13", f"placement={placement}", "device=cpu")
    assert code == cli.FAILED
    assert err[-1].startswith("size=1e+13: the vectors need 72.76 TiB, ")
    assert err[-1].endswith("data=file placement=host streams vectors from disk")


@pytest.mark.parametrize("line", ["hydra.run.dir=/dev/null/x", "-m seed=1,2 hydra.sweep.dir=/dev/null/x"])
def test_a_place_that_cannot_be_written_to_is_one_line(typed: Typed, line: str) -> None:
    code, out, err = typed(*line.split())
    assert (code, out) == (cli.FAILED, "")
    assert err == [
        "/dev/null/x: Not a directory; MLSYS_OUTPUTS, hydra.run.dir and hydra.sweep.dir say where results go"
    ]


def test_a_file_in_the_place_of_outputs_is_one_line(typed: Typed, outputs: Path) -> None:
    outputs.write_text("")
    code, _, err = typed("size=1e3")
    assert code == cli.FAILED
    assert len(err) == 1
    assert str(outputs) in err[0]


def test_a_word_that_changes_nothing_is_named(typed: Typed) -> None:
    _, _, err = typed(
        "size=1.0", "seed=1", "repeats=1", "warmup=0", "baselines=[]", "loadtest.requests=4", "device=cpu"
    )
    assert "workload=distance does not use loadtest: loadtest.requests=4 changes nothing" in err
    assert sum("does not use" in line for line in err) == 1


def test_a_word_that_is_wrong_is_told_to_be_wrong_and_not_to_change_nothing(typed: Typed) -> None:
    code, _, err = typed("workload=search", "baselines=[nonsense]", "device=cpu")
    assert code == cli.FAILED
    assert not any("changes nothing" in line for line in err)
    assert sum("is not a baseline" in line for line in err) == 1


def test_a_directory_that_another_process_measures_into_is_left_to_it(typed: Typed, outputs: Path) -> None:
    line = ("size=1e3", "repeats=1", "warmup=0", "baselines=[]", "device=cpu")
    claim = live.claim(outputs / "here")
    assert claim is not None
    code, _, err = typed(*line, f"hydra.run.dir={outputs}/here")
    assert code == MISUSE
    assert err[-1] == (
        f"{outputs}/here: another process is measuring it just now; hydra.run.dir=DIR names another directory"
    )
    claim.release()
    code, _, err = typed(*line, f"hydra.run.dir={outputs}/here")
    assert code == 0


def test_a_sweep_leaves_out_what_another_process_is_measuring(typed: Typed, outputs: Path) -> None:
    line = ["-m", "seed=1,2", "size=1e3", "repeats=1", "warmup=0", "baselines=[]", "device=cpu"]
    line += [f"hydra.sweep.dir={outputs}/sweep", "hydra.sweep.subdir=${seed}"]
    claim = live.claim(outputs / "sweep" / "1")
    assert claim is not None
    code, _, err = typed(*line)
    claim.release()
    assert code == 0
    assert any(line.endswith("another process is measuring it just now, in 1") for line in err)
    assert [path.parent.name for path in outputs.rglob("record.json")] == ["2"]
    assert typed(*line)[0] == 0
    assert sorted(path.parent.name for path in outputs.rglob("record.json")) == ["1", "2"]


def test_help_names_what_comes_after_a_run() -> None:
    text = (ROOT / "conf" / "config.yaml").read_text()
    assert "python -m mlsys.compare outputs/A outputs/B" in text
    assert "python -m mlsys.dashboard outputs/A outputs/B" in text


@pytest.mark.parametrize(
    "preset", ["seed_serving", "balancing_policies", "batching_policies", "h100_serving"]
)
def test_a_preset_of_a_closed_loop_goes_with_another_load(typed: Typed, preset: str) -> None:
    closed = typed("--cfg", "job", f"experiment={preset}", "hydra.mode=RUN")
    assert closed[0] == 0, closed[2]
    assert "concurrency:\n  -" in closed[1]
    poisson = typed("--cfg", "job", f"experiment={preset}", "hydra.mode=RUN", "loadtest=poisson")
    assert poisson[0] == 0, poisson[2]
    assert "request_rate: 1.0" in poisson[1]
    assert "concurrency" not in poisson[1]
