"""The simulated generator: its cost, and that steps give the answers and the cost of whole batches."""

import itertools
import random

import pytest
import schedules
from sections import made as option
from turned_clock import Clock

from mlsys.errors import UserError
from mlsys.rag.generator import Wanted
from mlsys.rag.generator.simulated import FREE_BYTES, TOKEN_BYTES, Simulated
from mlsys.rag.generator.stepping import Copy, Read, Sampling, Step

CONTENTS = [("Answer.", f"passage {'word ' * n} question {n}?") for n in (3, 40, 9)]
COSTS = {"base_ms": 2, "per_request_ms": 3, "per_token_ms": 0.5}


def made(clock: Clock, **knobs: object) -> Simulated:
    def sleep(seconds: float) -> None:
        clock.now += seconds

    found: Simulated = option("generator/simulated", **COSTS, sleep=sleep, clock=clock, **knobs)
    return found


def test_a_batch_costs_what_its_longest_answer_does() -> None:
    clock = Clock()
    model = made(clock, max_new_tokens=10)
    answers = model.generate(model.prompts(CONTENTS), [Wanted(4), Wanted(), Wanted(2)])
    assert [answer.tokens for answer in answers] == [4, 10, 2]
    assert clock.now == pytest.approx((2 + 3 * 3 + 0.5 * 10) / 1000)
    assert model.cost_ms(3, 4) == 13


def test_a_shorter_answer_is_the_longer_ones_beginning() -> None:
    model = made(Clock())
    prompts = model.prompts(CONTENTS[:1])
    (long,), (short,) = model.generate(prompts, [Wanted(20)]), model.generate(prompts, [Wanted(5)])
    assert long.ids[:5] == short.ids
    assert long.text.split()[:5] == short.text.split()
    (drawn,) = model.generate(prompts, [Wanted(20, sampling=Sampling(1.0, seed=3))])
    assert drawn.ids != long.ids


def test_a_lock_step_batch_costs_and_answers_in_steps_as_in_one_go() -> None:
    clock = Clock()
    model = made(clock, max_new_tokens=6)
    prompts = model.prompts(CONTENTS)
    whole = model.generate(prompts)
    whole_s, started = clock.now, clock.now
    stepper = model.stepper(4, None, 0.0, 64)
    found = schedules.answers(stepper, [prompt.ids for prompt in prompts], [6] * 3)
    assert found == [answer.ids for answer in whole]
    assert clock.now - started == pytest.approx(whole_s)


def test_launching_does_not_wait_and_steps_take_their_time_in_turn() -> None:
    clock = Clock()
    stepper = made(clock).stepper(2, None, 0.0, 64)
    first = stepper.launch(Step((Read(0, [1, 2], 0, False), Read(1, [5], 0, True))))
    second = stepper.launch(Step(writes=(1,)))
    assert clock.now == 0
    assert list(second.tokens()) == [1]
    assert clock.now == pytest.approx((2 + 3 + 0.5 + 0.5) / 1000)
    assert list(first.tokens()) == [1]
    assert clock.now == pytest.approx(0.006)


@pytest.mark.parametrize("seed", range(20))
def test_no_schedule_changes_an_answer(seed: int) -> None:
    model = made(Clock())
    prompts = [prompt.ids for prompt in model.prompts(CONTENTS * 2)]
    hows = [Sampling(n % 2, 1.0, n) for n in range(6)]
    limits = [1, 9, 20, 3, 7, 30]
    memory = 3 * 96 * TOKEN_BYTES
    stepper = model.stepper(2, memory, 0.3, 90)
    assert (stepper.slots, stepper.slot_tokens, stepper.blocks) == (2, 96, 5)
    expected = model.generate(
        model.prompts(CONTENTS * 2), [Wanted(n, sampling=how) for n, how in zip(limits, hows, strict=True)]
    )
    found = schedules.answers(stepper, prompts, limits, hows, random.Random(seed).randint)
    assert found == [answer.ids for answer in expected]


def test_what_no_device_could_do_is_refused() -> None:
    stepper = made(Clock()).stepper(1, 40 * TOKEN_BYTES, 0.4, 16)
    for step in (
        Step((Read(0, [1], 3, True),)),
        Step((Read(0, [1] * 17, 0, True),)),
        Step(saves=(Copy(0, 0, 0),)),
    ):
        with pytest.raises(ValueError, match="slot"):
            stepper.launch(step)


def test_memory_is_divided_and_never_exceeded() -> None:
    model = made(Clock())
    for slots, memory, share, longest in itertools.product(
        (None, 1, 300), (None, 10**8, 10**9), (0, 0.25, 0.9), (1, 100, 200)
    ):
        described = model.stepper(slots, memory, share, longest).describe()
        assert isinstance(described["kv_bytes"], int)
        assert isinstance(described["slots"], int)
        assert 0 < described["kv_bytes"] <= (FREE_BYTES if memory is None else memory)
        assert described["slots"] <= (slots or 256)
    small = (
        r"scheduling.kv_memory=1000: 0 MiB and prefix_share=0.5 leave no room for a sequence of 100 tokens"
    )
    with pytest.raises(UserError, match=small):
        model.stepper(None, 1000, 0.5, 100)
    with pytest.raises(UserError, match=r"scheduling.prefix_share=1.5 must be"):
        model.stepper(None, None, 1.5, 100)
    with pytest.raises(UserError, match=r"scheduling.slots=0 must be"):
        model.stepper(0, None, 0.5, 100)


def test_drawn_costs_have_the_mean_and_the_spread_of_an_exponential() -> None:
    clock, costs = Clock(), list[float]()
    model = made(clock, distribution="exponential", max_new_tokens=4)
    model.load("cpu", 3)
    prompts = model.prompts(CONTENTS[:1])
    for _ in range(4_000):
        before = clock.now
        model.generate(prompts)
        costs.append(1e3 * (clock.now - before))
    mean = sum(costs) / len(costs)
    assert mean == pytest.approx(model.cost_ms(1), rel=0.05)
    assert sum((cost - mean) ** 2 for cost in costs) / len(costs) == pytest.approx(mean**2, rel=0.15)


def test_another_prompt_draws_another_cost_and_the_same_history_the_same() -> None:
    took = []
    for content in (CONTENTS[0], CONTENTS[0], CONTENTS[1]):
        clock = Clock()
        model = made(clock, distribution="exponential")
        model.generate(model.prompts([content]))
        took.append(clock.now)
    assert took[0] == took[1] != took[2]


def test_what_no_distribution_is_and_steps_of_drawn_costs_are_refused() -> None:
    with pytest.raises(UserError, match=r"generator\.distribution=normal must be fixed or exponential"):
        made(Clock(), distribution="normal")
    with pytest.raises(UserError, match="exponential is of whole batches"):
        made(Clock(), distribution="exponential").stepper(2, None, 0.0, 100)
