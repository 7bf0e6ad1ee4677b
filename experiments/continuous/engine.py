"""The engine at token level alone, beside the lock-step decoder, in turn on one machine.

    python experiments/continuous/engine.py [overrides]
    python experiments/continuous/engine.py device=cuda generator=random generator.dtype=bfloat16 \
        generator.compile=true generator.max_new_tokens=64 +clients=[1,32,128]

Every client asks again as soon as it is answered. The lock-step decoder takes them in batches, as `server=batch`
would; the stepper with the simplest schedule there is: who waits is read whole. `+prompt=192`: tokens of a prompt,
`+rounds=3`, `+uniform=[16,256]`: lengths of answers in the second half, `+step=2048`: most prompt tokens in a step.
Prints requests/s: the median of the rounds with its extremes.
"""

from __future__ import annotations

import ast
import random
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import torch
from hydra import compose, initialize_config_dir

from mlsys import device, signatures
from mlsys.defaults import conf
from mlsys.rag.generator.stepping import Read, Step
from mlsys.run import config

Lengths = list[int]


def closed_loop(
    stepper: Any, prompts: Sequence[list[int]], lengths: Lengths, clients: int, most: int
) -> None:
    """Answer all, `clients` at a time; the next step is launched before the tokens of the last are looked at."""
    waiting, left = deque(range(len(prompts))), dict[int, int]()
    free, flying = list(range(clients)), deque[Any]()
    while waiting or left:
        reads, writes, tokens = [], tuple(left), 0
        while waiting and free and (not reads or tokens + len(prompts[waiting[0]]) <= most):
            place, slot = waiting.popleft(), free.pop()
            reads.append(Read(slot, prompts[place], 0, True))
            left[slot] = lengths[place]
            tokens += len(prompts[place])
        flying.append(stepper.launch(Step(tuple(reads), writes)))
        for slot in (*writes, *(read.slot for read in reads)):
            left[slot] -= 1
            if not left[slot]:
                del left[slot]
                free.append(slot)
        if len(flying) > 1:
            flying.popleft().tokens()
    for step in flying:
        step.tokens()


def in_batches(engine: Any, prompts: Sequence[list[int]], lengths: Lengths, clients: int) -> None:
    """Answer all in lock-step batches of `clients`."""
    for start in range(0, len(prompts), clients):
        part = slice(start, start + clients)
        engine.generate(prompts[part], lengths[part], [True] * len(prompts[part]))


def rates(ways: dict[str, Callable[[], None]], requests: int, rounds: int) -> dict[str, list[float]]:
    """Requests/s of each way, in turn."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            found[name].append(requests / (time.perf_counter() - started))
    return {name: sorted(rates) for name, rates in found.items()}


def main() -> None:
    own = {"clients": [1, 20], "prompt": 192, "rounds": 3, "uniform": [16, 256], "requests": 0, "step": 2048}
    config.register()
    words = [word for word in sys.argv[1:] if not word.startswith("+")]
    own |= {
        name: ast.literal_eval(value)
        for name, value in (word[1:].split("=") for word in sys.argv[1:] if word.startswith("+"))
    }
    with initialize_config_dir(str(conf()), version_base="1.3"):
        plain = config.resolved(compose("config", ["server=batch", *words]))
    torch.set_num_threads(plain["server"]["threads"])
    generator: Any = signatures.make("generator", plain["generator"])
    low, high = own["uniform"]
    generator.allow(high)
    generator.load(str(device.resolve(plain["device"])), plain["seed"])
    most, fixed, size = max(own["clients"]), generator.max_new_tokens, own["prompt"]
    stepper = generator.stepper(most, None, 0.0, size + max(high, fixed))
    started = time.perf_counter()
    stepper.warm(own["step"])
    between = time.perf_counter()
    generator.warm(most)
    print(f"warm: stepper {between - started:.1f} s, decoder {time.perf_counter() - between:.1f} s")
    print(stepper.describe())
    chance = random.Random(0)
    for clients in own["clients"]:
        count = own["requests"] or max(4, 4 * clients)
        prompts = [[chance.randrange(3, 1000) for _ in range(size)] for _ in range(count)]
        for name, lengths in {
            f"fixed {fixed}": [fixed] * count,
            f"uniform {low}..{high}": [chance.randint(low, high) for _ in range(count)],
        }.items():
            ways = {
                "stepper": lambda p=prompts, n=lengths, c=clients: closed_loop(stepper, p, n, c, own["step"]),
                "lock-step": lambda p=prompts, n=lengths, c=clients: in_batches(generator._engine, p, n, c),
            }
            found = rates(ways, count, own["rounds"])
            middle = {way: statistics.median(each) for way, each in found.items()}
            told = "  ".join(
                f"{way} {middle[way]:8.2f} ({each[0]:.2f} to {each[-1]:.2f})" for way, each in found.items()
            )
            print(
                f"{clients:4} clients, {name:16} {told}  ratio {middle['stepper'] / middle['lock-step']:.2f}"
            )


if __name__ == "__main__":
    main()
