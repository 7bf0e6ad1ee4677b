"""A Slurm of one node, from Debian's packages slurmctld, slurmd, slurm-client and munge."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "sinfo", "squeue")
CONFIGURATION = """
ClusterName=mlsys
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
MpiDefault=none
SwitchType=switch/none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=4000 State=UNKNOWN
PartitionName=here Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


@contextmanager
def slurm(folder: Path) -> Iterator[dict[str, str]]:
    """A running Slurm, as the environment variables that its clients need. Skips the test where there is none."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    if missing:
        pytest.skip(f"Slurm is not installed: {', '.join(missing)}")
    if os.geteuid() != 0:
        pytest.skip("a Slurm of one's own takes root")
    folder.mkdir(mode=0o755)
    (folder / "state").mkdir()
    (folder / "spool").mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    host, (controller, node) = socket.gethostname().split(".")[0], _ports()
    configuration = folder / "slurm.conf"
    configuration.write_text(
        CONFIGURATION.format(
            host=host, controller=controller, node=node, folder=folder, cpus=os.cpu_count(),
            user=pwd.getpwuid(os.geteuid()).pw_name,
        )
    )  # fmt: skip
    variables = {"SLURM_CONF": str(configuration), "PATH": _path()}
    munge = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket"]
    munge += [
        f"--pid-file={folder}/munge.pid",
        f"--log-file={folder}/munge.log",
        f"--seed-file={folder}/seed",
    ]
    commands = [munge, ["slurmctld", "-D"], ["slurmd", "-D", "-N", host]]
    started: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            started.append(
                subprocess.Popen(
                    command,
                    env={**os.environ, **variables},
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
            time.sleep(0.2)
        _until(["sinfo", "-h", "-o", "%T"], "idle", variables, started, folder)
        yield variables
        _until(["squeue", "-h", "-o", "%T"], "", variables, started, folder)
    finally:
        for process in reversed(started):
            process.kill()
            process.wait()
        for left in _of(folder):
            with suppress(psutil.NoSuchProcess):
                left.kill()


def _of(folder: Path) -> list[psutil.Process]:
    """Its processes: a job's own daemon is nobody's child, and writes its title over its environment."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            paths = [process.environ().get("SLURM_CONF", "")]
            paths += [opened.path for opened in process.open_files()]
            if any(folder in Path(path).parents for path in paths):
                found.append(process)
    return found


def _until(
    ask: list[str],
    answer: str,
    variables: dict[str, str],
    started: list[subprocess.Popen[bytes]],
    folder: Path,
) -> None:
    for _ in range(600):
        said = subprocess.run(ask, env={**os.environ, **variables}, capture_output=True, text=True)
        if said.returncode == 0 and said.stdout.strip() == answer:
            return
        ended = [process.args for process in started if process.poll() is not None]
        assert not ended, (ended, *(log.read_text() for log in folder.glob("*.log")))
        time.sleep(0.1)
    raise AssertionError("\n".join(log.read_text() for log in folder.glob("*.log")))


def _path() -> str:
    return os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])


def _ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        for opened in (one, other):
            opened.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1]), int(other.getsockname()[1])
