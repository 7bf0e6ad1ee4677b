from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from generating import generate
from schedule_of import due
from sections import load, section
from service_double import Double, good, serving

from mlsys.errors import ProcessEnded
from mlsys.loadtest.arrivals import make
from mlsys.loadtest.clients import Clients, Task
from mlsys.loadtest.generator import Generator
from mlsys.loadtest.options import split
from mlsys.loadtest.questions import Order, Question
from mlsys.loadtest.rows import FILE_NAME
from mlsys.loadtest.spec import Spec

QUESTIONS = [Question(i, f"question {i}", None) for i in range(20)]


def specification(url: str, directory: Path, name: str, arrivals: dict[str, Any], **knobs: Any) -> Spec:
    _, own = split(section(f"loadtest/{name}", **arrivals))
    return Spec(url, str(directory), own, load(**knobs), seed=1, questions=QUESTIONS)


@pytest.mark.slow
async def test_three_processes_send_an_open_loop_as_one_would(tmp_path: Path) -> None:
    async with serving(Double(good)) as url:
        told = {"request_rate": [60.0, 90.0]}
        spec = specification(url, tmp_path, "poisson", told, requests=40, warmup_requests=7, processes=3)
        events = await generate(spec, key="secret")
    levels = [event["values"] for event in events if event["event"] == "level"]
    table = pd.read_parquet(tmp_path / FILE_NAME)
    for index, rate in enumerate((60.0, 90.0)):
        rows = table[table["level"] == index].sort_values("id")
        assert rows["id"].tolist() == list(range(47))
        assert rows["intended_s"].tolist() == due(make(spec.arrivals).process(rate, 1), 47)
        assert rows["question"].tolist() == [Order(QUESTIONS, 1)[i].id for i in range(47)]
        assert rows["phase"].tolist() == ["warmup"] * 7 + ["measured"] * 40
        assert rows["started_at"].max() - rows["started_at"].min() < 0.01
        assert rows["sent_s"].ge(rows["intended_s"]).all()
        assert (levels[index]["requests"], levels[index]["success_rate"]) == (40, 1)
        assert levels[index]["client.processes"] == 3
        assert levels[index]["client.cpu_share"] == max(
            levels[index][f"client.{i}.cpu_share"] for i in range(3)
        )
    assert sum(event["count"] for event in events if event["event"] == "answered") == len(table)


@pytest.mark.slow
async def test_two_processes_share_the_clients_of_a_closed_loop(tmp_path: Path) -> None:
    in_flight = most = 0

    async def slow(question: dict[str, Any]) -> Any:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        await asyncio.sleep(0.05)
        in_flight -= 1
        return await good(question)

    double = Double(slow)
    async with serving(double) as url:
        spec = specification(url, tmp_path, "closed", {"concurrency": [1, 5]}, requests=21, processes=2)
        events = await generate(spec)
    levels = [event["values"] for event in events if event["event"] == "level"]
    assert [level["client.processes"] for level in levels] == [1, 2]
    assert [level["requests"] for level in levels] == [21, 21]
    assert most == 5
    rows = pd.read_parquet(tmp_path / FILE_NAME).query("level == 1")
    assert rows["id"].is_unique
    measured = rows[rows["phase"] == "measured"]
    running = [((rows.sent_s <= at) & (at < rows.done_s)).sum() for at in measured.sent_s]
    assert max(running) == 5
    assert not list((tmp_path / "clients").glob(".*"))


@pytest.mark.slow
async def test_a_client_process_that_cannot_begin_is_named(tmp_path: Path) -> None:
    (tmp_path / "loadtest.json").write_text("{}")
    async with Clients(tmp_path / "loadtest.json") as clients:
        with pytest.raises(ProcessEnded, match=r"a client process ended with 1: .*is no loadtest.json"):
            await clients.start(1)


class Pretended:
    """Client processes of which it takes `needed` until they are not the limit."""

    def __init__(self, needed: int) -> None:
        self.needed, self.asked = needed, list[int]()


@pytest.mark.parametrize(("needed", "cores", "tried"), [(1, 8, [1]), (3, 8, [1, 2, 4]), (9, 4, [1, 2, 4])])
async def test_a_level_is_measured_again_with_more_clients_until_they_are_not_the_limit(
    monkeypatch: pytest.MonkeyPatch, needed: int, cores: int, tried: list[int]
) -> None:
    spec = specification("http://x", Path(), "constant", {}, processes="auto")
    spec.directory = ""
    said: list[str] = []
    clients: Any = Pretended(needed)
    client: Any = None
    generator = Generator(spec, client, lambda event, **_: said.append(event), clients=clients)
    found = []

    async def measured(index: int, level: float) -> tuple[dict[str, Any], Any, list[Any]]:
        found.append(generator._processes)
        return {"valid": generator._processes >= needed}, {}, []

    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setattr(generator, "_measured", measured)
    await generator._level(0, 1.0)
    assert found == tried
    assert said == ["level"]


def test_a_task_is_read_as_it_was_told(tmp_path: Path) -> None:
    task = Task(number=3, of=2, index=1, level=4.0, turn=0, begin_s=5.25)
    assert Task.read(tmp_path, 3) is None
    task.write(tmp_path)
    assert Task.read(tmp_path, 3) == task
    assert json.loads((tmp_path / "task-3.json").read_text())["begin_s"] == 5.25
