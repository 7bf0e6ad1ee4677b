"""A directory is measured into by one process at a time, and free again when that has ended, however it ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from mlsys.run import live

HOLD = """
import sys, time
from pathlib import Path
from mlsys.run import live
held = live.claim(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def test_a_claim_keeps_others_out_until_it_is_released(tmp_path: Path) -> None:
    claim = live.claim(tmp_path / "run")
    assert claim is not None
    assert live.claim(tmp_path / "run") is None
    assert live.claimed(tmp_path / "run")
    claim.release()
    claim.release()
    assert not live.claimed(tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []
    again = live.claim(tmp_path / "run")
    assert again is not None
    again.release()


def test_a_killed_process_claims_nothing(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert live.claim(tmp_path) is None
        process.kill()
    claim = live.claim(tmp_path)
    assert claim is not None
    claim.release()
