from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import synthetic

from mlsys.compare.__main__ import main
from mlsys.record import Record


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(name: str, *records: Record) -> Path:
    return synthetic.save(Path(name), list(records))[0][0]


def lines(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]


def test_the_same_configuration_twice_says_no_difference(capsys: pytest.CaptureFixture[str]) -> None:
    put("a", synthetic.distance(), synthetic.distance("dot"))
    put("b", synthetic.distance(), synthetic.distance("dot"))
    assert main(["a", "b", "--fail-if-slower", "1%"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("no detectable difference") == 2
    assert "\x1b" not in shown


def test_slower_and_faster(capsys: pytest.CaptureFixture[str]) -> None:
    put("a", synthetic.distance(latency_ms=1.0))
    put("b", synthetic.distance(latency_ms=1.3))
    (line,) = lines(capsys, "a", "b")
    assert (line["verdict"], line["a"], line["b"]) == ("slower", 1.0, 1.3)
    assert line["interval"]["low"] > 1
    assert lines(capsys, "b", "a")[0]["verdict"] == "faster"


@pytest.mark.parametrize(("limit", "code"), [("5%", 1), ("0.05", 1), ("40%", 0)])
def test_fail_if_slower_is_for_ci(limit: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    put("a", synthetic.distance(latency_ms=1.0))
    put("b", synthetic.distance(latency_ms=1.3))
    assert main(["a", "b", "--fail-if-slower", limit]) == code
    assert ("slower than allowed: all latency_ms by 30" in capsys.readouterr().err) == bool(code)


def test_faster_never_fails(capsys: pytest.CaptureFixture[str]) -> None:
    put("a", synthetic.distance(latency_ms=1.3))
    put("b", synthetic.distance(latency_ms=1.0))
    assert main(["a", "b", "--fail-if-slower", "0%"]) == 0


def test_modes_of_serving_are_compared_at_each_load(capsys: pytest.CaptureFixture[str]) -> None:
    put("a", synthetic.serving("baseline"))
    put("b", synthetic.serving("batch"))
    found = lines(capsys, "a", "b")
    verdicts = {(line["load"], line["metric"]): line["verdict"] for line in found}
    assert verdicts[1, "throughput_rps"] == "no detectable difference"
    assert verdicts[20, "throughput_rps"] == "faster"
    assert verdicts[20, "e2e_ms.p95"] == "faster"


@pytest.mark.parametrize("width", ["40", "80", "100"])
def test_on_a_narrow_terminal_the_figures_stay_whole(
    width: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    modes = [synthetic.serving(mode) for mode in ("baseline", "queue", "batch")]
    lb = {"name": "lb", "replicas": 3} | {f"knob_{i}": i for i in range(22)}
    put("s", *modes, synthetic.serving("lb", config={"server": lb}))
    assert main(["s", "s"]) == 0
    shown = capsys.readouterr().out
    assert shown.split().count("9,231") == 4  # in A and in B, of two loads
    assert "1.000" in shown
    assert "…" not in shown
    assert "knob" not in shown
    assert ("no room for" in shown) == (width != "100")


def test_only_common_loads_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    put("a", synthetic.serving("baseline", loads=(1, 5)))
    put("b", synthetic.serving("batch", loads=(5, 20)))
    assert {line["load"] for line in lines(capsys, "a", "b")} == {5}


@pytest.mark.parametrize(
    "changed",
    [
        {"hardware": {"cpu": "Other", "cores": 2, "memory_gib": 24.0, "gpu": None}},
        {"config": {"data": {"name": "file", "x": "a.npy"}}},
        {"config": {"n": 7}},
    ],
    ids=["hardware", "data", "size"],
)
def test_other_work_or_hardware_is_refused(
    changed: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    put("a", synthetic.distance())
    put("b", synthetic.distance(**changed))
    assert main(["a", "b"]) == 2
    error = capsys.readouterr().err
    assert "different" in error
    assert error.endswith("--force\n")
    assert error.count("\n") == 1
    assert main(["a", "b", "--force"]) == 0
    assert "note: all: " in capsys.readouterr().out


def test_another_model_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    put("a", synthetic.serving())
    put("b", synthetic.serving(config={"generator": {"name": "random", "dtype": "float32"}}))
    assert main(["a", "b"]) == 2
    assert "generator: smollm2 against random" in capsys.readouterr().err


def test_versions_and_a_busy_machine_are_noted(capsys: pytest.CaptureFixture[str]) -> None:
    put("a", synthetic.distance())
    put(
        "b",
        synthetic.distance(versions={"python": "3.11.9", "torch": "2.11.0"}, load_average=[2.0, 1.0, 1.0]),
    )
    assert main(["a", "b"]) == 0
    shown = capsys.readouterr().out
    assert "note: torch: 2.13.0 against 2.11.0" in shown
    assert "note: B, 0: the machine was busy before the run" in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere", "a"], "nowhere is no record and no directory"),
        (["a", "a", "--fail-if-slower", "x"], "--fail-if-slower=x is not a share such as 5% or 0.05"),
        (["a", "a", "--noise=-1%"], "--noise=-1% must be at least 0% and less than 100%"),
        (["a", "a", "--metric", "speed"], "--metric=speed: no run of both sides has it; it has latency_ms"),
        (
            ["a", "s"],
            "no run of a has the configuration of one of s; 1 and 1 runs without a partner, 0 failed",
        ),
    ],
)
def test_misuse_is_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    put("a", synthetic.distance())
    put("s", synthetic.serving())
    assert main(words) == 2
    assert capsys.readouterr().err == said + "\n"


def test_another_metric(capsys: pytest.CaptureFixture[str]) -> None:
    put("a", synthetic.distance())
    put("b", synthetic.distance())
    found = lines(capsys, "a", "b", "--metric", "wall_ms", "--metric", "bandwidth_gbps")
    assert [line["metric"] for line in found] == ["wall_ms", "bandwidth_gbps"]


def requests(place: Path, answers: list[str], e2e_ms: float, seed: int) -> None:
    """A level of requests one after the other, as a baseline answers them."""
    rng = np.random.default_rng(seed)
    times = e2e_ms * np.exp(rng.normal(0, 0.05, len(answers)))
    table = {"level": 0, "repeat": 0, "phase": "measured", "outcome": "ok", "question": range(len(answers))}
    frame = pd.DataFrame(table | {"answer": answers, "e2e_ms": times, "done_s": np.cumsum(times) / 1e3})
    frame.to_parquet(place / "requests.parquet")


def test_few_repeats_are_made_up_for_by_the_requests(capsys: pytest.CaptureFixture[str]) -> None:
    for name, seed, e2e_ms in (("a", 1, 100.0), ("b", 2, 100.0), ("c", 3, 160.0)):
        made = synthetic.serving("baseline", loads=(1,))
        made.samples = {"levels.0.throughput_rps": [0.6]}
        requests(put(name, made), ["x"] * 60, e2e_ms, seed)
    same = lines(capsys, "a", "b")
    assert [line["verdict"] for line in same] == ["no detectable difference"] * 2
    assert [line["verdict"] for line in lines(capsys, "a", "c")] == ["slower"] * 2


def test_streams_are_compared_by_their_first_token_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    for name, seed, ttft_ms in (("a", 1, 20.0), ("b", 2, 20.0), ("c", 3, 40.0)):
        made = synthetic.streamed("continuous", loads=(1,))
        made.samples = {"levels.0.throughput_rps": [0.6]}
        place = put(name, made)
        requests(place, ["x"] * 60, 100.0, 1)
        frame = pd.read_parquet(place / "requests.parquet")
        noise = np.exp(np.random.default_rng(seed).normal(0, 0.05, 60))
        frame.assign(ttft_ms=ttft_ms * noise).to_parquet(place / "requests.parquet")
    for other, verdict in (("b", "no detectable difference"), ("c", "slower")):
        rate, latency, first = lines(capsys, "a", other)
        assert (first["metric"], first["verdict"]) == ("ttft_ms.p50", verdict)
        assert rate["verdict"] == latency["verdict"] == "no detectable difference"


def test_answers_that_must_agree_are_checked(capsys: pytest.CaptureFixture[str]) -> None:
    for name, mode, answers in (("a", "baseline", "xyz"), ("b", "batch", "xyz"), ("c", "batch", "xqz")):
        requests(put(name, synthetic.serving(mode, loads=(1,))), list(answers), 100.0, 1)
    main(["a", "b"])
    assert "all 3 questions asked of both were answered alike" in capsys.readouterr().out
    main(["a", "c"])
    assert "1 of 3 questions were answered differently in float32 (questions 1)" in capsys.readouterr().out


def test_jobs_measured_in_turn_are_compared_round_by_round(capsys: pytest.CaptureFixture[str]) -> None:
    """Drift of 30 % between rounds hides 6 % from a comparison of runs, not from one of rounds."""
    rng = np.random.default_rng(1)
    drift = np.repeat(np.exp(rng.normal(0, 0.3, 6)), 10)
    records = []
    for name, latency_ms in (("float32", 1.0), ("float16", 1.06)):
        made = synthetic.distance(config={"dtype": name, "compare": {"interleave": True, "rounds": 6}})
        made.samples["latency_ms"] = list(latency_ms * drift * np.exp(rng.normal(0, 0.01, 60)))
        records.append(made)
    synthetic.save(Path("sweep"), records)
    assert lines(capsys, "sweep/0", "sweep/1")[0]["verdict"] == "slower"
    for record in records:
        record.config["compare"]["interleave"] = False
    synthetic.save(Path("sweep"), records)
    assert lines(capsys, "sweep/0", "sweep/1")[0]["verdict"] == "no detectable difference"
