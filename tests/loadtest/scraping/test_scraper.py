from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mlsys.loadtest.scraping import scraper as scraper_module
from mlsys.loadtest.scraping.scraper import MOST_KEPT, Scraper, is_local

GPU = {"utilization_percent": 80, "memory_used_gib": 4.0, "power_w": None}


class Metrics:
    """A service whose counter grows by 1 with each reading; None: it has no `/metrics`."""

    def __init__(self, text: str | None) -> None:
        self.text, self.readings = text, 0

    async def fetch(self, path: str) -> bytes | None:
        self.readings += 1
        return None if self.text is None else self.text.format(self.readings).encode()


async def scraped(metrics: Metrics, url: str = "http://10.0.0.1", gpus: Any = None, turns: int = 3) -> Any:
    async with Scraper(metrics, url, gpus) as scraper:
        for _ in range(200):
            if max(len(scraper._texts), len(scraper._moments)) >= turns:
                break
            await asyncio.sleep(0.01)
    return scraper


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scraper_module, "EVERY_S", 0.0)


async def test_a_level_has_what_was_counted_around_it_and_what_was_seen_during_it() -> None:
    metrics = Metrics("vllm:request_success_total {0}\nvllm:num_requests_running {0}\n")
    scraper = await scraped(metrics)
    found = scraper.values([])
    assert found["counters.requests"] == metrics.readings - 1
    assert found["counters.running.max"] > found["counters.running.mean"] > 1


async def test_a_service_without_metrics_is_asked_once() -> None:
    metrics = Metrics(None)
    scraper = await scraped(metrics, turns=0)
    await asyncio.sleep(0)
    assert metrics.readings == 1
    assert scraper.values([]) == {}


async def test_gpus_of_this_machine_are_watched() -> None:
    scraper = await scraped(Metrics(None), "http://127.0.0.1:80", lambda: [GPU])
    assert scraper.values([]) == {
        "gpu.0.utilization_percent.mean": 80.0,
        "gpu.0.utilization_percent.max": 80.0,
        "gpu.0.memory_used_gib.mean": 4.0,
        "gpu.0.memory_used_gib.max": 4.0,
    }


async def test_where_there_is_no_gpu_nothing_is_watched() -> None:
    scraper = await scraped(Metrics(None), "http://127.0.0.1:80", list, turns=0)
    assert scraper.values([]) == {}


async def test_a_long_level_keeps_a_bounded_number_of_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scraper_module, "MOST_KEPT", 4)
    scraper = await scraped(Metrics("te_queue_size 1\n"), turns=5)
    assert len(scraper._texts) <= 5 < MOST_KEPT


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:8000", True),
        ("http://localhost", True),
        ("http://[::1]:80/v1", True),
        ("https://example.org", False),
        ("http://10.0.0.1", False),
    ],
)
def test_a_loopback_is_this_machine(url: str, local: bool) -> None:
    assert is_local(url) is local
