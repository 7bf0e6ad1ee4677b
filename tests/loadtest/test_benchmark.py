"""The benchmark from end to end: real processes and sockets, a generator whose cost is known."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from scalars import number
from sections import simulated

from mlsys.errors import UserError
from mlsys.loadtest.benchmark import ServingBenchmark
from mlsys.loadtest.children import environment
from mlsys.loadtest.server_counters import Stats
from mlsys.loadtest.service import Target, running
from mlsys.record import Level, Record, Results, now

pytestmark = pytest.mark.slow

STAGES = ("queue", "embed", "retrieve", "prompt", "generate", "respond")


def measure(plain: dict[str, Any], directory: Path) -> Record:
    record = Record("serving", [], plain, "", {}, now())
    for part in ServingBenchmark(plain, directory).measure():
        assert isinstance(part, (Level, Results))
        record.add(part)
        record.write(directory)
    return record


def left_over(directory: Path) -> list[int]:
    """Processes that were told of this directory."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        if process.pid != os.getpid() and str(directory) in " ".join(process.info["cmdline"] or []):
            found.append(process.pid)
    return found


def test_a_batch_server_under_two_loads(tmp_path: Path) -> None:
    plain = simulated(
        "batch",
        loadtest={"concurrency": [1, 4], "requests": 12, "engine_requests": 8, "slo_ms": 1e6},
        generator={"base_ms": 150.0},
    )
    record = measure(plain, tmp_path)
    one, four = record.levels
    assert (one["concurrency"], four["concurrency"]) == (1, 4)
    assert one["batch_size.max"] == 1
    assert 1 < int(four["batch_size.max"] or 0) <= 4
    for level in record.levels:
        assert (level["requests"], level["succeeded"], level["success_rate"], level["goodput"]) == (
            12,
            12,
            1,
            1,
        )
        assert level["e2e_ms.p99"] is None
        assert level["retrieval_hit_rate"] == 1
        together = sum(float(level[f"stage_ms.{stage}.mean"] or 0) for stage in STAGES)
        outside = float(level["outside_ms.mean"] or 0)
        assert together + outside == pytest.approx(level["e2e_ms.mean"], rel=1e-3)
        assert outside > 0
    assert float(four["throughput_rps"] or 0) > 1.5 * float(
        one["throughput_rps"] or 1
    )  # 3.7 on an idle machine
    assert one["answers_digest"] == four["answers_digest"] == record.results["answers_digest"]
    assert record.results["level"] == 1
    assert record.results["throughput_rps"] == four["throughput_rps"]
    assert float(record.results["first_answer_ms"] or 0) > float(record.results["startup_s"] or 0)
    assert {"engine.batch_1.reached", "engine.batch_4.throughput_rps", "hit_rate.1"} <= set(record.results)
    assert record.results["pipeline.generator.note"] == "simulated: a cost model, no language model"
    assert len(pd.read_parquet(tmp_path / "requests.parquet")) >= 2 * 12
    assert left_over(tmp_path) == []


def test_overload_of_an_open_loop_is_rejected_with_retry_after(tmp_path: Path) -> None:
    plain = simulated(
        "queue",
        "poisson",
        server={"max_queue": 4},
        loadtest={"request_rate": 100, "requests": 150, "engine_ceiling": False, "quality_questions": 0},
        generator={"base_ms": 100.0},
    )
    record = measure(plain, tmp_path)
    level = record.levels[0]
    assert level["rejected"] == level["rejected_with_retry_after"]
    assert int(level["rejected"] or 0) > int(level["succeeded"] or 0) > 0
    assert level["failed"] == 0
    most = 4 + 1  # in line and in service
    assert float(level["e2e_ms.max"] or 0) < 2 * most * float(level["stage_ms.generate.max"] or 0)
    assert float(level["achieved_rate_rps"] or 0) > 2 * float(level["throughput_rps"] or 0)
    assert not any(name.startswith("engine.") for name in record.results)


def test_the_record_says_which_gpu_each_replica_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    plain = simulated(
        "lb",
        server={"replicas": 2},
        loadtest={"concurrency": 2, "requests": 4, "engine_ceiling": False, "quality_questions": 0},
    )
    record = measure({**plain, "device": "auto"}, tmp_path)
    assert record.levels[0]["succeeded"] == 4
    assert [record.results[f"replica.replica-{index}.gpu"] for index in range(2)] == ["0", "1"]


def test_what_a_pipeline_warns_of_is_said_on_the_console_and_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Target("http://127.0.0.1:1", None, None, 1.0)
    monkeypatch.setattr(service, "stats", lambda: Stats(pipeline={"generator.warning": "it is slow"}))
    described = ServingBenchmark(simulated("batch"), tmp_path)._describe(service)
    assert described["pipeline.generator.warning"] == "it is slow"
    assert capsys.readouterr().err == "it is slow\n"


def test_an_external_service_is_measured_and_left_running(tmp_path: Path) -> None:
    ours = simulated("baseline")
    with running(ours, tmp_path / "service") as service:
        plain = simulated("external", server={"url": service.url}, loadtest={"concurrency": 2, "requests": 6})
        record = measure(plain, tmp_path / "load")
        service.check()
    assert record.levels[0]["succeeded"] == 6
    assert record.levels[0]["retrieval_hit_rate"] == 1
    assert record.results["startup_s"] is None


def test_a_service_that_speaks_as_openai_counts_what_its_client_counts(tmp_path: Path) -> None:
    with running(simulated("continuous"), tmp_path / "service") as service:
        plain = simulated(
            "external",
            server={"url": f"{service.url}/v1", "api": "openai"},
            loadtest={"concurrency": 2, "requests": 8, "stream": True, "output_tokens": [4, 8]},
        )
        record = measure(plain, tmp_path / "load")
    (level,) = record.levels
    assert level["succeeded"] == 8
    assert level["counters.system"] == "mlsys"
    assert level["counters.requests"] == len(pd.read_parquet(tmp_path / "load" / "requests.parquet"))
    for name in ("requests", "output_tokens"):
        assert level[f"counters.agreement.{name}"] == 1
    assert number(level["counters.agreement.e2e_ms.mean"]) >= 1
    assert (record.results["service.model"], record.results["service.server"]) == ("rag", "mlsys")
    assert "output_tokens.estimated" not in level


def test_what_does_not_stream_is_not_asked_for_a_stream(tmp_path: Path) -> None:
    server = {"url": "http://127.0.0.1:1", "api": "tei"}
    with pytest.raises(UserError, match=r"^loadtest.stream=true: server.api=tei does not stream$"):
        ServingBenchmark(simulated("external", server=server, loadtest={"stream": True}), tmp_path)


@pytest.mark.parametrize(
    ("output_tokens", "max_tokens", "resolved"),
    [(None, None, 32), ([8, 128], None, 128), ([2, 4], None, 32), ([8, 128], 200, 200)],
)
def test_the_longest_answer_is_known_before_the_service_starts(
    output_tokens: Any, max_tokens: int | None, resolved: int, tmp_path: Path
) -> None:
    plain = simulated(
        "batch",
        generator={"max_new_tokens": 32},
        server={"max_tokens": max_tokens},
        loadtest={"output_tokens": output_tokens},
    )
    assert ServingBenchmark(plain, tmp_path).config["server"]["max_tokens"] == resolved
    assert plain["server"]["max_tokens"] == max_tokens


def test_answers_longer_than_the_service_gives_are_refused_before_it_starts(tmp_path: Path) -> None:
    plain = simulated("batch", server={"max_tokens": 64}, loadtest={"output_tokens": [8, 128]})
    with pytest.raises(UserError) as caught:
        ServingBenchmark(plain, tmp_path)
    assert str(caught.value) == (
        "loadtest.output_tokens=[8, 128] asks for up to 128 tokens, more than server.max_tokens=64"
    )


def test_nobody_at_an_external_address(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(UserError) as caught:
        measure(simulated("external", server={"url": url}), tmp_path)
    assert str(caught.value) == f"server.url={url} cannot be reached: [Errno 111] Connection refused"


def test_a_server_that_refuses_its_configuration_is_the_users_mistake(tmp_path: Path) -> None:
    plain = simulated("batch")
    plain["batching"]["max_size"] = 0
    with pytest.raises(UserError, match=r"^batching.max_size=0 must be at least 1$"):
        measure(plain, tmp_path)
    assert left_over(tmp_path) == []


def test_nothing_to_start_and_nothing_to_send(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^loadtest=none with server=external"):
        ServingBenchmark(simulated("external", "none", server={"url": "http://127.0.0.1:1"}), tmp_path)


def test_a_search_without_an_slo(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"^loadtest.slo_ms=null: loadtest=slo_search needs a latency to meet$"
    ):
        ServingBenchmark(simulated("batch", "slo_search", loadtest={"slo_ms": None}), tmp_path)


SCRIPT = """
import json, sys
from pathlib import Path
from mlsys import interrupts
from mlsys.loadtest.benchmark import ServingBenchmark
from mlsys.record import Record, now

interrupts.raise_interrupt()
directory = Path(sys.argv[1])
plain = json.loads((directory / "config.json").read_text())
record = Record("serving", [], plain, "", {}, now())
try:
    for part in ServingBenchmark(plain, directory).measure():
        record.add(part)
        record.write(directory)
except KeyboardInterrupt:
    sys.exit(130)
"""


@contextmanager
def started(plain: dict[str, Any], directory: Path) -> Iterator[subprocess.Popen[str]]:
    (directory / "config.json").write_text(json.dumps(plain))
    child = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(directory)],
        env={**os.environ, **environment(), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        try:
            yield child
        finally:
            child.kill()


def wait_for(happened: Callable[[], Any]) -> None:
    """For as long as pytest's own time-out lets a test run."""
    while not happened():
        time.sleep(0.05)


def test_ctrl_c_keeps_finished_levels_and_leaves_no_process(tmp_path: Path) -> None:
    plain = simulated(
        "batch",
        loadtest={"concurrency": [2, 4], "requests": 4, "timeout_s": 500.0},
        generator={"base_ms": 1000.0},
    )
    record = tmp_path / "record.json"
    with started(plain, tmp_path) as child:
        wait_for(lambda: record.exists() and json.loads(record.read_text())["levels"])
        child.send_signal(signal.SIGINT)
        assert child.wait() == 130
    wait_for(lambda: not left_over(tmp_path))
    assert [level["concurrency"] for level in json.loads(record.read_text())["levels"]] == [2]
    assert set(pd.read_parquet(tmp_path / "requests.parquet")["level"]) == {0}


def test_without_a_load_it_serves_until_ctrl_c(tmp_path: Path) -> None:
    with started(simulated("baseline", "none"), tmp_path) as child:
        assert child.stdout is not None
        line = child.stdout.readline()
        assert line.startswith("serving on http://127.0.0.1:")
        child.send_signal(signal.SIGINT)
        assert child.wait() == 0
    wait_for(lambda: not left_over(tmp_path))


def test_streams_of_drawn_lengths_under_two_modes_give_the_same_answers(tmp_path: Path) -> None:
    load = {
        "concurrency": 4,
        "requests": 24,
        "output_tokens": [4, 24],
        "stream": True,
        "slo": {"ttft_ms": 1e6, "tpot_ms": 1e6, "e2e_ms": 1e6},
        "engine_ceiling": False,
        "quality_questions": 0,
    }
    records = {
        mode: measure(simulated(mode, loadtest=load, generator={"base_ms": 40.0}), tmp_path / mode)
        for mode in ("batch", "continuous")
    }
    batch, continuous = (records[mode].levels[0] for mode in ("batch", "continuous"))
    for level in (batch, continuous):
        assert (level["succeeded"], level["goodput"], level["goodput.ttft_ms"]) == (24, 1, 1)
        inside = sum(
            float(value or 0)
            for name, value in level.items()
            if name.startswith("stage_ms.") and name.endswith(".mean")
        )
        assert inside + float(level["outside_ms.mean"] or 0) == pytest.approx(level["e2e_ms.mean"], rel=1e-3)
    assert batch["answers_digest.measured"] == continuous["answers_digest.measured"]
    assert (batch["ttft_is_e2e"], continuous["ttft_is_e2e"]) == (True, False)
    assert batch["tpot_ms.p50"] is None
    assert 0 < number(continuous["ttft_ms.p50"]) < number(continuous["e2e_ms.p50"])
    assert number(continuous["tpot_ms.p50"]) > 0
    assert {"stage_ms.prefill.mean", "stage_ms.decode.mean", "kv_usage.mean", "step_ms.mean"} <= set(
        continuous
    )
    assert "stage_ms.generate.mean" not in continuous
    assert "stage_ms.prefill.mean" not in batch
    table = pd.read_parquet(tmp_path / "continuous" / "requests.parquet")
    good = table[table["outcome"] == "ok"]
    assert (good["tokens"] == good["max_tokens"]).all()
    gaps = good["itl_ms"].map(len)
    assert (gaps < good["tokens"]).all()
    assert gaps.median() >= 1, "on a busy machine some come in one piece"
