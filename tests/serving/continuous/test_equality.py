"""Greedy float32 answers of a real engine: the same whatever the policy, the cache, the chunks, who is put off."""

from __future__ import annotations

import random
from functools import cache

import pytest
from sections import made
from steps import Drive, planner, policy

from mlsys.rag.generator import Prompt, Wanted
from mlsys.rag.generator.random import Random
from mlsys.serving.continuous.sequence import Sequence

COUNT, LONGEST = 7, 16


@cache
def generator() -> Random:
    """A tiny model on the CPU."""
    found: Random = made("generator/random", shape="tiny", max_prompt_tokens=80, max_new_tokens=LONGEST)
    found.load("cpu", 0)
    return found


@cache
def prompts() -> list[list[int]]:
    """Prompts of different lengths that begin alike, in pairs or all."""
    draw = random.Random(1)
    common = [draw.randrange(3, 400) for _ in range(40)]
    tails = [[draw.randrange(3, 400) for _ in range(draw.randrange(1, 30))] for _ in range(COUNT)]
    return [[*common[: 40 if place % 3 else 20], *tails[place // 2], place + 3] for place in range(COUNT)]


@cache
def baseline() -> list[list[int]]:
    """Each prompt's answer, all by itself in the engine of the other modes, with lengths of its own."""
    wanted = [Wanted(3 + place, exact=True) for place in range(COUNT)]
    return [
        generator().generate([Prompt("", len(ids), ids)], [one])[0].ids
        for ids, one in zip(prompts(), wanted, strict=True)
    ]


@pytest.mark.parametrize(
    ("name", "cached", "slots", "budget"),
    [
        *((name, True, 2, 24) for name in ("fcfs", "shortest_prompt", "deadline", "priority", "fair")),
        ("fcfs", False, 5, 512),
        ("fcfs", True, 5, 512),
        ("priority", False, 2, 512),
    ],
)
def test_answers_equal_the_baselines_token_for_token(
    name: str, cached: bool, slots: int, budget: int
) -> None:
    rules = policy(name, slots=slots, max_step_tokens=budget, prefix_cache=cached)
    engine = generator().stepper(slots, None, rules.prefix_share, 100)
    run = Drive(planner(rules, engine), engine)
    sequences = []
    for place, ids in enumerate(prompts()):
        limit, priority = 3 + place, place % 3
        sequences.append(
            Sequence(
                ids, limit, exact=True, arrived_at=float(place), client="ab"[place % 2], priority=priority
            )
        )
        run.planner.add(sequences[-1])
        run.turn()
    run.run()
    assert [list(sequence.written) for sequence in sequences] == baseline()
    assert (run.planner.cache.hit_tokens > 0) == cached
    assert (run.planner.put_off > 0) == (name == "priority")
