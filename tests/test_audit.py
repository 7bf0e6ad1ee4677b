"""The bill of materials names what is pinned, and the audit claims nothing that it has not looked up."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mlsys.defaults import ROOT

SOUND = {"name": "one", "version": "1.0", "vulns": []}
KNOWN = {"name": "two", "version": "2.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"]}]}
UNKNOWN = {"name": "three", "skip_reason": "not on PyPI"}


def test_the_bill_of_materials_names_every_pinned_version_and_nothing_else() -> None:
    pins = {line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")}
    bill = json.loads((ROOT / "sbom.cdx.json").read_text())
    assert {f"{one['name']}=={one['version']}" for one in bill["components"]} == pins, "run .ci/audit --write"
    assert "timestamp" not in bill["metadata"]


@pytest.mark.parametrize(
    ("stdout", "stderr", "status", "said"),
    [
        ({"dependencies": [SOUND]}, "", 0, "audited: 1 packages, 0 known vulnerabilities"),
        ({"dependencies": [SOUND, KNOWN]}, "", 1, "two 2.0: PYSEC-1, mended in 2.1"),
        ({"dependencies": [SOUND, UNKNOWN]}, "", 0, "NOT AUDITED: three"),
        (
            {"dependencies": [UNKNOWN]},
            "",
            0,
            "NOT AUDITED: the advisories cannot be reached: none of 1 packages is known there, as not on PyPI",
        ),
        (
            None,
            "a traceback\nno route to host\n",
            0,
            "NOT AUDITED: the advisories cannot be reached: no route to host",
        ),
    ],
)
def test_a_known_vulnerability_fails_and_what_was_not_looked_up_is_said(
    tmp_path: Path, stdout: object, stderr: str, status: int, said: str
) -> None:
    done = audited(tmp_path, bill="{}", stdout="" if stdout is None else json.dumps(stdout), stderr=stderr)
    assert (done.returncode, said in done.stdout.splitlines()) == (status, True), done


def test_a_bill_that_is_out_of_step_fails(tmp_path: Path) -> None:
    done = audited(tmp_path, bill='{"other": 1}', stdout="", stderr="")
    assert (done.returncode, done.stdout) == (
        1, "sbom.cdx.json is not what constraints.txt makes: run .ci/audit --write\n"
    )  # fmt: skip


def audited(folder: Path, bill: str, stdout: str, stderr: str) -> subprocess.CompletedProcess[str]:
    """`.ci/audit` in a folder of its own, with tools that say what they are told to."""
    (folder / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "audit", folder / ".ci")
    (folder / "constraints.txt").write_text("one==1.0\n")
    (folder / "sbom.cdx.json").write_text(bill)
    tools = {"cyclonedx-py": ("{}", ""), "pip-audit": (stdout, stderr)}
    for name, (out, err) in tools.items():
        (folder / f"{name}.out").write_text(out)
        (folder / f"{name}.err").write_text(err)
        script = folder / name
        script.write_text(f"#!/bin/sh\ncat {folder}/{name}.out\ncat {folder}/{name}.err >&2\n")
        script.chmod(0o755)
    env = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    return subprocess.run(
        [sys.executable, folder / ".ci" / "audit"], env=env, capture_output=True, text=True, check=False
    )
