"""vLLM's engine beside this project's on one GPU, in turn, without any service.

    python -m venv vllm-env && vllm-env/bin/pip install vllm==0.24.0
    python experiments/h100_serving/vllm_bare.py --python vllm-env/bin/python

All load one folder (`peer_folder.py`) and answer the same prompts of 128 to 256 tokens with 64 new ones, greedily, in
bfloat16; none remembers a prompt. Prints a JSON line for each number of prompts, and writes `bare.json`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections import deque
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import peer_folder

SIZES = (1, 8, 32, 128, 256)
STEP_TOKENS = 1024  # that ours reads and writes in a step, as `scheduling.max_step_tokens`


class Theirs:
    """vLLM in a process of its own, which loads while ours does."""

    name = "vLLM"

    def __init__(self, python: str, folder: Path) -> None:
        command = [python, str(Path(__file__).with_name("vllm_engine.py")), str(folder)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def wait(self) -> None:
        self.name = self._heard()["name"]

    def answer(self, prompts: list[list[int]], new: int) -> tuple[float, list[list[int]]]:
        self._process.stdin.write(json.dumps({"prompts": prompts, "new": new}) + "\n")
        self._process.stdin.flush()
        found = self._heard()
        return found["seconds"], found["ids"]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _heard(self) -> Any:
        if not (line := self._process.stdout.readline()):
            raise SystemExit(f"vLLM ended with {self._process.wait()}: what it said is above")
        return json.loads(line)


class Batches:
    """Ours, a whole batch at a time: `server=batch`'s engine."""

    name = "ours, whole batches"

    def __init__(self, generator: Any) -> None:
        from mlsys.rag.generator import Prompt, Wanted

        self._generator, self._prompt, self._wanted = generator, Prompt, Wanted
        generator.warm(max(SIZES))

    def answer(self, prompts: list[list[int]], new: int) -> tuple[float, list[list[int]]]:
        asked = [self._prompt("", len(ids), ids) for ids in prompts]
        started = time.perf_counter()
        found = self._generator.generate(asked, [self._wanted(new, True)] * len(prompts))
        return time.perf_counter() - started, [one.ids for one in found]


class Steps:
    """Ours, token by token, whoever has come first read first: `server=continuous`'s engine."""

    name = "ours, token by token"

    def __init__(self, generator: Any, new: int) -> None:
        self._stepper = generator.stepper(max(SIZES), None, 0.0, peer_folder.MOST + new)
        self._stepper.warm(STEP_TOKENS)

    def answer(self, prompts: list[list[int]], new: int) -> tuple[float, list[list[int]]]:
        from mlsys.rag.generator.stepping import Read, Step

        started = time.perf_counter()
        waiting, left = deque(enumerate(prompts)), dict[int, int]()
        ids: list[list[int]] = [[] for _ in prompts]
        launched = deque[Any]()
        while waiting or left or launched:
            reads, room = [], STEP_TOKENS - len(left)
            while waiting and len(waiting[0][1]) <= room:
                slot, prompt = waiting.popleft()
                reads.append(Read(slot, prompt, 0, True))
                room -= len(prompt)
            if reads or left:
                launched.append(self._stepper.launch(Step(tuple(reads), tuple(left))))
            left = {slot: more - 1 for slot, more in left.items() if more > 1}
            left |= {read.slot: new - 1 for read in reads if new > 1}
            while len(launched) > 1 or (launched and not left and not waiting):
                for slot, token in launched.popleft().tokens().items():
                    ids[slot].append(token)
        return time.perf_counter() - started, ids


def bare(asked: argparse.Namespace, folder: Path) -> None:
    """Each engine answers the same prompts, round after round, in turn."""
    vocabulary = peer_folder.vocabulary(asked.shape)
    theirs = Theirs(asked.python, folder)
    found = []
    try:
        generator = _generator(folder, asked)
        engines: list[Any] = [theirs, Steps(generator, asked.new), Batches(generator)]
        theirs.wait()
        for size in SIZES:
            line = _sized(engines, size, asked, vocabulary)
            found.append(line)
            print(json.dumps(line), flush=True)
            (asked.directory / "bare.json").write_text(json.dumps(found, indent=1) + "\n")
    finally:
        theirs.close()


def _sized(engines: list[Any], size: int, asked: argparse.Namespace, vocabulary: int) -> dict[str, Any]:
    """Medians and quartiles of all at one number of prompts, and how far ours write what vLLM writes."""
    theirs = engines[0].name
    times: dict[str, list[float]] = {one.name: [] for one in engines}
    equal: dict[str, list[list[bool]]] = {one.name: [] for one in engines}
    for number in range(asked.rounds + 1):
        prompts = peer_folder.prompts(size, 1000 * size + number, vocabulary)
        found = {one.name: one.answer(prompts, asked.new) for one in engines}
        for name, (seconds, answers) in found.items():
            if {len(ids) for ids in answers} != {asked.new}:
                raise SystemExit(f"{name}: an answer has another length than {asked.new} tokens")
            if number:  # the first round warms
                times[name].append(seconds)
            pairs = zip(answers, found[theirs][1], strict=True)
            equal[name] += [[a == b for a, b in zip(ours, other, strict=True)] for ours, other in pairs]
    line: dict[str, Any] = {"prompts": size, "rounds": asked.rounds}
    for name, seconds in times.items():
        low, middle, high = quantiles(seconds, n=4)
        line[name] = {
            "requests_per_s": size / middle,
            "quartiles": [size / high, size / low],
            "over_vllm": median(times[theirs]) / middle,
            "first_tokens_equal": sum(row[0] for row in equal[name]) / len(equal[name]),
            "tokens_equal": sum(map(sum, equal[name])) / len(equal[name]) / asked.new,
        }
    return line


def _generator(folder: Path, asked: argparse.Namespace) -> Any:
    from hydra import compose, initialize_config_dir

    from mlsys import signatures
    from mlsys.run import config

    config.register()
    with initialize_config_dir(str(peer_folder.ROOT / "conf"), version_base="1.3"):
        plain = config.resolved(compose("config", ["server=continuous", *peer_folder.ours(folder, asked)]))
    generator: Any = signatures.make("generator", plain["generator"])
    generator.load(asked.device, 0)
    return generator


def main() -> None:
    asked = peer_folder.options(__doc__, rounds=10)
    bare(asked, peer_folder.made(asked.model, asked.shape))


if __name__ == "__main__":
    main()
