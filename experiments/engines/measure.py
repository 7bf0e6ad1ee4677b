"""The engines of a CPU in one thread budget: requests a second, time to the first token, and whose answers are whose.

    python experiments/engines/measure.py --directory outputs/engines [--threads 1] [--rounds 3] [--only ours,openvino]

Each engine is loaded once, in a process of its own. Then they are measured in turn, round after round, on questions
that none has seen: those that remember prompts would otherwise answer from memory. Writes `engines.json` with every
figure and `engines.md` with the table. About ten minutes on two quiet cores; `--service` adds six.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import subprocess
import sys
import time
from itertools import takewhile
from pathlib import Path
from statistics import median
from typing import Any

from engine import QUESTIONS, Engine

ROOT = Path(__file__).resolve().parents[2]
XLLAMACPP = Path(__file__).with_name("llama_server.py")
OURS = {
    f"ours {dtype}": ["generator=smollm2", "generator.engine=own", f"generator.dtype={dtype}"]
    for dtype in ("float32", "bfloat16", "int8")
}
REFERENCE = "ours float32"
CLIENTS = (1, 20)
SINGLES = 4  # requests one after the other in a round
SERVICE = {
    "server": "continuous",
    "loadtest.concurrency": CLIENTS[1],
    "loadtest.requests": 2 * CLIENTS[1],
    "loadtest.stream": "true",
    "loadtest.engine_ceiling": "false",
    "loadtest.quality_questions": 0,
    "tracking": "off",
}


def engines(binary: str | None) -> dict[str, list[str]]:
    """Name to what run.py is given."""
    if binary is None and shutil.which("llama-server") is None and importlib.util.find_spec("xllamacpp"):
        binary = str(XLLAMACPP)
    llama = ["generator=llama_cpp", f"generator.binary={binary or 'llama-server'}"]
    return {
        **OURS,
        "openvino float32": ["generator=openvino"],
        "openvino bfloat16": [
            "generator=openvino",
            "generator.dtype=bfloat16",
            "generator.kv_dtype=bfloat16",
        ],
        "openvino file": ["generator=openvino", "generator.weights=file", "generator.kv_dtype=int8"],
        "llama.cpp": llama,
    }


def started(wanted: dict[str, list[str]], threads: int) -> tuple[dict[str, Engine], dict[str, str]]:
    """The engines that are there, and why the others are not."""
    there, missing = dict[str, Engine](), dict[str, str]()
    for name, overrides in wanted.items():
        made = Engine([*overrides, f"server.threads={threads}"])
        lacking = made.start()
        if lacking is None:
            there[name] = made
        else:
            missing[name] = lacking
        print(f"{name}: {lacking or 'loaded'}", flush=True)
    return there, missing


def rounds(there: dict[str, Engine], count: int) -> dict[str, list[dict[str, float]]]:
    """Each engine's figures of each round; the questions of a round are the same for all."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in there}
    at = QUESTIONS
    for number in range(count):
        for name, engine in there.items():
            place, figures = at, {}
            figures["ttft_ms"] = 1e3 * engine.seconds(place, SINGLES, 1, tokens=1) / SINGLES
            place += SINGLES
            figures["rps_1"] = SINGLES / engine.seconds(place, SINGLES, 1)
            place += SINGLES
            figures[f"rps_{CLIENTS[1]}"] = CLIENTS[1] / engine.seconds(place, CLIENTS[1], CLIENTS[1])
            found[name].append(figures)
            print(f"round {number + 1}, {name}: {json.dumps(figures)}", flush=True)
        at += 2 * SINGLES + CLIENTS[1]
    return found


def served(name: str, overrides: list[str], directory: Path) -> dict[str, Any]:
    """One level of the same engine behind HTTP, from its record."""
    place = directory / "service" / name.replace(" ", "-")
    line = [sys.executable, "run.py", *overrides, *(f"{knob}={value}" for knob, value in SERVICE.items())]
    subprocess.run([*line, f"hydra.run.dir={place}"], cwd=ROOT, check=True)
    (level,) = json.loads((place / "record.json").read_text())["levels"]
    return {
        key: level[key] for key in ("throughput_rps", "ttft_ms.p50", "e2e_ms.p95", "succeeded", "requests")
    }


def differences(answers: list[dict[str, Any]], reference: list[dict[str, Any]]) -> dict[str, Any]:
    """The share of equal answers, and where the others begin to differ, in tokens of their text."""
    pairs = zip(answers, reference, strict=True)
    places = [_other(one["ids"], other["ids"]) for one, other in pairs if one["text"] != other["text"]]
    return {
        "equal": 1 - len(places) / len(reference),
        "first_difference": median(places) if places else None,
        "tokens": median(len(one["ids"]) for one in answers),
    }


def _other(ids: list[int], others: list[int]) -> int:
    """How many tokens two answers begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(ids, others, strict=False)))


def spread(values: list[float]) -> str:
    """The median, and from where to where."""
    if len(values) == 1:
        return f"{values[0]:.3g}"
    return f"{median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def table(content: dict[str, Any]) -> str:
    """Markdown: one line for each engine, and one for each that is not there."""
    head = ("engine", "weights", "1 client, req/s", "20 clients, req/s", "first token ms", "over HTTP at 20, req/s",
            "equal answers", "first other token", "loads in s")  # fmt: skip
    lines = [head, ("---",) * len(head)]
    for name, one in content["engines"].items():
        figures = {key: [each[key] for each in one["rounds"]] for key in one["rounds"][0]}
        over = one.get("service", {}).get("throughput_rps")
        first = one["answers"]["first_difference"]
        version, told = one["told"].get("generator.engine_version", ""), one["told"]
        cells = (
            f"{name} {version}".strip(),
            str(told.get("generator.weights", told.get("generator.dtype", "–"))),
            *(spread(figures[key]) for key in ("rps_1", "rps_20", "ttft_ms")),
            "–" if over is None else f"{over:.3g}",
            f"{one['answers']['equal']:.0%}",
            "–" if first is None else f"{first:g} of {one['answers']['tokens']:g}",
            f"{one['load_s']:.0f}",
        )
        lines.append(cells)
    written = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return written + "".join(f"\n{name} was left out: {why}\n" for name, why in content["missing"].items())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--directory", type=Path, default=Path("outputs/engines"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--binary", help="llama-server; the wheel xllamacpp where there is none")
    parser.add_argument("--only", default="", help="names that begin so, with commas")
    parser.add_argument("--service", action="store_true", help="then a level over HTTP each")
    given = parser.parse_args()
    directory, begun = given.directory.resolve(), time.monotonic()
    directory.mkdir(parents=True, exist_ok=True)
    chosen = tuple(given.only.split(",")) if given.only else ("",)
    wanted = {
        name: how
        for name, how in engines(given.binary).items()
        if name == REFERENCE or name.startswith(chosen)
    }
    there, missing = started(wanted, given.threads)
    try:
        answers = {name: engine.answers() for name, engine in there.items()}
        figures = rounds(there, given.rounds)
    finally:
        for engine in there.values():
            engine.stop()
    content: dict[str, Any] = {"threads": given.threads, "missing": missing, "engines": {}}
    for name, engine in there.items():
        one = {
            "rounds": figures[name],
            "answers": differences(answers[name], answers[REFERENCE]),
            "texts": answers[name],
        }
        content["engines"][name] = one | {"load_s": engine.load_s, "told": engine.told}
        if given.service:
            how = [*wanted[name], f"server.threads={given.threads}"]
            content["engines"][name]["service"] = served(name, how, directory)
    content["minutes"] = (time.monotonic() - begun) / 60
    (directory / "engines.json").write_text(json.dumps(content, indent=1) + "\n")
    (directory / "engines.md").write_text(table(content))
    print(table(content))


if __name__ == "__main__":
    main()
