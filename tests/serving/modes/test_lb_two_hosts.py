"""A balancer with a backend on another host, which goes in the middle without a word: no client loses its answer."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from two_hosts import two_hosts

from mlsys.defaults import ROOT

pytestmark = pytest.mark.slow

SERVICE = ("corpus=animals", "embedder=hashing", "generator=simulated", "tracking=off")
LOAD = (
    "loadtest=constant",
    "loadtest.request_rate=40",
    "loadtest.requests=390",
    "loadtest.warmup_requests=10",
)
PLAIN = ("loadtest.engine_ceiling=false", "loadtest.quality_questions=0")


def test_a_host_that_goes_costs_time_and_no_request(tmp_path: Path) -> None:
    run = (sys.executable, str(ROOT / "run.py"))
    with two_hosts() as hosts:
        here, there = (
            host.start(
                *run, "server=batch", "server.host=0.0.0.0", "server.port=8101", "loadtest=none", *SERVICE,
                MLSYS_OUTPUTS=str(tmp_path / host.device),
            )
            for host in hosts
        )  # fmt: skip
        for service in (here, there):
            assert service.stdout is not None
            assert any(line.startswith("serving on") for line in service.stdout)
        backends = ",".join(f"http://{address}:8101" for address in ("127.0.0.1", hosts[1].address))
        words = ("server=lb", f"server.backends=[{backends}]", *LOAD, *PLAIN, *SERVICE)
        client = hosts[0].start(*run, *words, MLSYS_OUTPUTS=str(tmp_path / "lb"))
        assert client.stderr is not None
        assert any("/400" in line for line in client.stderr)  # how far it has come, after five seconds
        hosts[1].unplug()
        out, errors = client.communicate()
        assert client.returncode == 0, out + errors
    (path,) = (tmp_path / "lb").rglob("record.json")
    (level,) = json.loads(path.read_text())["levels"]
    assert (level["succeeded"], level["failed"], level["rejected"]) == (390, 0, 0)
    asked = [level[f"replica.http://{address}:8101.requests"] for address in ("127.0.0.1", hosts[1].address)]
    assert sum(asked) == 390
    assert 0 < asked[1] < asked[0]
