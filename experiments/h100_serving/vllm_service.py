"""vLLM's server beside this project's on one GPU, under one load of this project's, in turn.

    python -m venv vllm-env && vllm-env/bin/pip install vllm==0.24.0
    python experiments/h100_serving/vllm_service.py --python vllm-env/bin/python

Both load one folder (`peer_folder.py`) and continue texts of 128 to 256 tokens by 64 (`/v1/completions`), greedily, in
bfloat16; none remembers a prompt. Answers come whole. Prints a table; the records are written into --directory.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from statistics import median

import peer_folder

from mlsys import record
from mlsys.serving.process import ChildProcess

CLIENTS = (1, 32, 128, 256)
QUESTIONS = 500  # asked again and again: nobody remembers them, and each run keeps a copy
LOAD = ("server=external", "server.api=completions", "server.model=model", "server.parameters={temperature: 0}",
        "loadtest.processes=auto", "loadtest.engine_ceiling=false", "loadtest.quality_questions=0",
        "tracking=off")  # fmt: skip
THEIRS = ("--served-model-name", "model", "--dtype", "bfloat16", "--max-model-len", "512", "--max-num-seqs", "256",
          "--gpu-memory-utilization", "0.4", "--no-enable-prefix-caching", "--generation-config", "vllm",
          "--disable-uvicorn-access-log")  # fmt: skip
ENVIRONMENT = {"VLLM_USE_FLASHINFER_SAMPLER": "0", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}


def service(asked: argparse.Namespace, folder: Path) -> None:
    """Both services are up; the same load goes to one, then to the other, round after round."""
    words = peer_folder.vocabulary(asked.shape)
    questions = peer_folder.questions(folder / "prompts.jsonl", QUESTIONS, words)
    ports = [_free_port(), _free_port()]
    server = [asked.python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
    ours = [sys.executable, str(peer_folder.ROOT / "run.py"), "server=continuous", "server.engine_process=true",
            "server.max_queue=1024", f"server.port={ports[1]}", "loadtest=none", "tracking=off",
            *peer_folder.ours(folder, asked)]  # fmt: skip
    theirs_log, ours_log = asked.directory / "vllm.log", asked.directory / "ours.log"
    theirs = ChildProcess([*server, "--port", str(ports[0]), *THEIRS], ENVIRONMENT, theirs_log)
    mine = ChildProcess(ours, None, ours_log)
    with theirs, mine:
        mine.wait_ready(asked.start_s)
        _wait(f"http://127.0.0.1:{ports[0]}/health", theirs, asked.start_s)
        for number in range(asked.rounds):
            for name, port in zip(("vllm", "ours"), ports, strict=True):
                _load(asked, name, number, port, questions)
            _tell(asked.directory, number + 1)


def _load(asked: argparse.Namespace, name: str, number: int, port: int, questions: Path) -> None:
    load = [f"server.url=http://127.0.0.1:{port}", f"loadtest.questions={questions}",
            f"loadtest.output_tokens={asked.new}", f"loadtest.duration_s={asked.seconds}", f"seed={number}",
            f"loadtest.concurrency=[{','.join(map(str, CLIENTS))}]",
            f"hydra.run.dir={asked.directory}/{name}-{number}"]  # fmt: skip
    subprocess.run([sys.executable, "run.py", *LOAD, *load], check=True, cwd=peer_folder.ROOT)


def _tell(directory: Path, rounds: int) -> None:
    """Every round's rates so far, and the medians' ratio."""
    levels = {
        name: [record.read(directory / f"{name}-{number}").levels for number in range(rounds)]
        for name in ("vllm", "ours")
    }
    for place, clients in enumerate(CLIENTS):
        rates = {}
        for name, found in levels.items():
            rates[name] = [round(level[place]["throughput_rps"], 1) for level in found]
            p95 = [round(level[place]["e2e_ms.p95"], 1) for level in found]
            print(f"{clients:4} clients, {name}: {rates[name]} requests/s, p95 {p95} ms")
        print(
            f"{clients:4} clients, ours over theirs: {median(rates['ours']) / median(rates['vllm']):.2f}",
            flush=True,
        )


def _wait(url: str, process: ChildProcess, timeout_s: float) -> None:
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        if not process.alive:
            raise SystemExit(f"vLLM's server {process.ending()}")
        try:
            urllib.request.urlopen(url, timeout=2.0).close()
            return
        except OSError:
            time.sleep(0.5)
    raise SystemExit(f"vLLM's server was not ready after {timeout_s:g} s (its output: {process.log})")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def main() -> None:
    asked = peer_folder.options(__doc__, rounds=3)
    service(asked, peer_folder.made(asked.model, asked.shape))


if __name__ == "__main__":
    main()
