"""torchrun over two hosts, and one that goes in the middle without a word; the hosts are network namespaces."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from two_hosts import Host, two_hosts

pytestmark = pytest.mark.slow

QUICK = """
import sys
from mlsys.ranks import keepalive
keepalive.IDLE_S = keepalive.BETWEEN_S = 1  # a lost host is noticed in 3 s
keepalive.UNANSWERED = 2
from mlsys.run.__main__ import main
sys.exit(main())
"""
TIMEOUTS_S = 120  # of the collectives, which would end without keepalive as well


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.rglob("record.json"))]


def test_distances_and_rows_over_two_hosts_and_one_that_is_lost(outputs: Path, tmp_path: Path) -> None:
    program = tmp_path / "run.py"
    program.write_text(QUICK)
    seeds = ",".join(map(str, range(8)))  # more than are measured before the cable is cut
    words = ("-m", f"seed={seeds}", "workload=distance,search", "size=1e4", "search.rows=3e3", "search.dim=8")
    tiny = ("repeats=3", "warmup=1", "baselines=[]", "tracking=off", "device=cpu")
    with two_hosts() as hosts:

        def start(rank: int, host: Host) -> Any:
            line = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
            line += [f"--node-rank={rank}", f"--master-addr={hosts[0].address}", "--master-port=29500"]
            return host.start(*line, str(program), *words, *tiny, MLSYS_OUTPUTS=str(outputs))

        running = [start(rank, host) for rank, host in enumerate(hosts)]
        while {e["workload"] for e in records(outputs) if e["status"] == "ok"} != {"distance", "search"}:
            assert running[0].poll() is None, running[0].communicate()
            time.sleep(0.05)
        hosts[1].unplug()
        cut = time.monotonic()
        said = [process.communicate()[1] for process in running]
        assert time.monotonic() - cut < TIMEOUTS_S
    assert [process.returncode for process in running] == [1, 1]
    found = records(outputs)
    well = [entry for entry in found if entry["status"] == "ok"]
    (lost,) = [entry for entry in found if entry["status"] != "ok"]  # the others have not begun
    assert lost["error"].startswith("LostRank: a rank has gone or hangs: ")
    assert "not run: seed=7" in said[0]
    for entry in well:
        assert entry["results"]["ranks"] == 2
        if entry["workload"] == "search":
            assert (entry["results"]["index_equal"], entry["results"]["shard_rows"]) == (True, 1500)
        else:
            assert entry["results"]["relative_error"] <= 1e-6
