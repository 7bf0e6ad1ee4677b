"""Which sequences are in each step, exactly; and that no schedule changes, loses or repeats a token."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from steps import Drive, answer, planner, policy, stepper

from mlsys.rag.generator.stepping import Copy, Read, Step
from mlsys.serving.continuous.sequence import Sequence
from mlsys.serving.scheduling import Policy

PROMPT = list(range(100, 110))


def drive(policy: Policy, ahead: int = 0, ends: frozenset[int] = frozenset(), **engine: Any) -> Drive:
    made = stepper(**engine)
    return Drive(planner(policy, made, ends), made, ahead)


def asked(prompt: list[int], limit: int = 3, **knobs: Any) -> Sequence:
    return Sequence(prompt, limit, **knobs)


def shape(step: Step) -> tuple[list[tuple[int, int, int]], list[int]]:
    """(slot, start, tokens) of each read, and the slots that write."""
    return [(read.slot, read.start, len(read.ids)) for read in step.reads], list(step.writes)


def test_a_long_prompt_is_read_in_parts_while_the_others_write() -> None:
    run = drive(policy(max_step_tokens=4), slots=2)
    run.planner.add(asked([1, 2], limit=4))
    run.turn()
    run.planner.add(asked(PROMPT, limit=2))
    run.run()
    assert [shape(step) for step in run.steps] == [
        ([(0, 0, 2)], []),
        ([(1, 0, 3)], [0]),
        ([(1, 3, 3)], [0]),
        ([(1, 6, 3)], [0]),
        ([(1, 9, 1)], []),
        ([], [1]),
    ]
    assert [step.reads[0].last for step in run.steps[1:5]] == [False, False, False, True]


def test_short_prompts_share_a_step_and_the_budget_bounds_it() -> None:
    run = drive(policy(max_step_tokens=8), slots=4)
    for start in (1, 4, 7):
        run.planner.add(asked([start, start + 1, start + 2], limit=1, arrived_at=float(start)))
    run.run()
    assert [shape(step) for step in run.steps] == [
        ([(0, 0, 3), (1, 0, 3), (2, 0, 2)], []),
        ([(2, 2, 1)], []),
    ]


def test_a_place_is_free_in_the_step_after_the_last_token_was_planned() -> None:
    run = drive(policy(), slots=1, ahead=1)
    first, second = asked([1], limit=2), asked([2], limit=1, arrived_at=1.0)
    run.planner.add(first)
    run.planner.add(second)
    run.run()
    assert [shape(step) for step in run.steps] == [([(0, 0, 1)], []), ([], [0]), ([(0, 0, 1)], [])]


@pytest.mark.parametrize("ahead", [0, 1])
def test_who_leaves_is_in_no_step_that_is_planned_from_then_on(ahead: int) -> None:
    run = drive(policy(), slots=1, ahead=ahead)
    first, second = asked([1], limit=50), asked([2], limit=1, arrived_at=1.0)
    run.planner.add(first)
    run.planner.add(second)
    for _ in range(3):
        run.turn()
    run.planner.remove(first)
    run.turn()
    assert shape(run.steps[-1]) == ([(0, 0, 1)], []), "its place is taken in the very next step"
    run.run()
    assert second.written == answer([2], 1)
    assert len(first.written) == 3 - ahead, "tokens of steps that were under way are dropped"


def test_an_answer_ends_at_its_end_token_and_an_exact_one_does_not() -> None:
    ends = frozenset(range(0, 14, 3))
    free, exact = asked(PROMPT, 20), asked(PROMPT, 20, exact=True, arrived_at=1.0)
    run = drive(policy(), ends=ends)
    run.planner.add(free)
    run.planner.add(exact)
    run.run()
    assert free.written == answer(PROMPT, 20, ends)
    assert exact.written == answer(PROMPT, 20)
    assert 0 < free.count < 20


def test_a_step_launched_before_the_end_was_known_writes_a_token_that_is_dropped() -> None:
    wanted = answer(PROMPT, 20)
    run = drive(policy(), ahead=1, ends=frozenset(wanted[2:3]))
    sequence = asked(PROMPT, 20)
    run.planner.add(sequence)
    run.run()
    assert sequence.written == wanted[: wanted.index(wanted[2]) + 1]
    assert sum(len(step.writes) for step in run.steps) == sequence.count, "one more than was needed"


def test_a_larger_priority_puts_off_a_smaller_one_which_loses_no_token() -> None:
    run = drive(policy("priority"), slots=1)
    low, high = asked(PROMPT, 6), asked([7, 8], 2, priority=1, arrived_at=1.0)
    run.planner.add(low)
    for _ in range(3):
        run.turn()
    run.planner.add(high)
    run.run()
    assert [shape(step) for step in run.steps] == [
        ([(0, 0, 10)], []),
        ([], [0]),
        ([], [0]),
        ([(0, 0, 2)], []),
        ([], [0]),
        ([(0, 0, 13)], []),  # the prompt and the three tokens that were written
        ([], [0]),
        ([], [0]),
    ]
    assert low.written == answer(PROMPT, 6)
    assert high.written == answer([7, 8], 2)
    assert run.planner.put_off == 1
    assert [token for one, token in run.wrote if one is low] == answer(PROMPT, 6), "none is told twice"


def test_what_prompts_begin_with_alike_is_loaded() -> None:
    run = drive(policy(), slots=2, blocks=8, block_tokens=4)
    run.planner.add(asked([*PROMPT, 1], limit=1))
    run.turn()
    run.planner.add(asked([*PROMPT, 2], limit=1))
    run.run()
    first, second = run.steps
    assert first.saves == (Copy(0, 0, 0), Copy(0, 4, 1))
    assert second.loads == (Copy(0, 0, 0), Copy(0, 4, 1))
    assert second.reads == (Read(0, [108, 109, 2], 8, True),)


def test_who_begins_like_one_that_is_being_read_waits_for_that_step_alone() -> None:
    run = drive(policy(), slots=3, blocks=8, block_tokens=4)
    sequences = [asked([*PROMPT, last], limit=1, arrived_at=float(last)) for last in (1, 2)]
    other = asked([1, 2, 3], limit=1, arrived_at=3.0)
    for sequence in (*sequences, other):
        run.planner.add(sequence)
    run.run()
    assert [shape(step)[0] for step in run.steps] == [[(0, 0, 11), (1, 0, 3)], [(1, 8, 3)]]
    assert [one.written for one in sequences] == [answer(one.ids[:11], 1) for one in sequences]


def test_a_deadline_that_cannot_be_met_is_taken_out_of_the_line() -> None:
    line = planner(policy("deadline"), stepper())
    line.policy.stepped(1.0)
    late, early = asked(PROMPT, 5, exact=True, deadline=3.0), asked(PROMPT, 2, exact=True, deadline=3.0)
    line.add(late)
    line.add(early)
    assert line.hopeless(0.0) == [late]
    assert (line.waiting, late.ended) == ([early], True)


def test_after_an_error_each_is_read_alone_and_the_one_to_blame_fails_alone() -> None:
    run = drive(policy(), slots=3, blocks=8, block_tokens=4)
    good, bad, other = (asked([*PROMPT, last], 4, arrived_at=float(last)) for last in (1, 2, 3))
    for sequence in (good, bad, other):
        run.planner.add(sequence)
    run.turn()
    run.turn()
    plan = run.planner.plan()
    assert plan is not None
    assert run.planner.failed([plan]) == []
    failures = []
    while (plan := run.planner.plan()) is not None:
        if bad in plan.members:
            failures += run.planner.failed([plan])
        else:
            run.planner.told(plan, run.engine.launch(plan.step).tokens())
    assert failures == [bad]
    assert [one.written for one in (good, other)] == [answer(one.ids[:11], 4) for one in (good, other)]


def test_an_engine_with_more_slots_than_tokens_in_a_step_uses_as_many_as_write_in_one() -> None:
    run = drive(policy(max_step_tokens=2), slots=4)
    for place in range(4):
        run.planner.add(asked([place], limit=3, arrived_at=float(place)))
    run.run()
    assert max(len(step.writes) + len(step.reads) for step in run.steps) == 2


PROMPTS = st.lists(st.integers(0, 1), min_size=1, max_size=14)
EVENTS = st.lists(
    st.tuples(PROMPTS, st.integers(1, 6), st.booleans(), st.integers(0, 2), st.integers(0, 3), st.integers(0, 9)),
    min_size=1, max_size=12,
)  # fmt: skip


@pytest.mark.parametrize("name", ["fcfs", "shortest_prompt", "deadline", "priority", "fair"])
@settings(max_examples=60)
@given(
    events=EVENTS,
    slots=st.integers(1, 4),
    blocks=st.integers(0, 5),
    budget=st.integers(1, 12),
    ahead=st.integers(0, 1),
    failing=st.sets(st.integers(0, 30), max_size=2),
)
def test_no_schedule_changes_loses_or_repeats_a_token(
    name: str, events: Any, slots: int, blocks: int, budget: int, ahead: int, failing: set[int]
) -> None:
    """Whatever the policy, the cache, the budget, who leaves, and which steps fail for no fault of their sequences."""
    ends = frozenset({5})
    run = drive(policy(name, max_step_tokens=budget), ahead, ends, slots=slots, blocks=blocks, block_tokens=2)
    sequences, left = list[Sequence](), list[Sequence]()
    for at, (prompt, limit, exact, priority, turns, leaves) in enumerate(events):
        sequences.append(
            asked(
                prompt, limit, exact=exact, priority=priority, arrived_at=float(at), client="ab"[leaves % 2]
            )
        )
        run.planner.add(sequences[-1])
        for _ in range(turns):
            run.turn()
        if len(run.steps) in failing and len(members := _under_way(run)) > 1:
            failing.remove(len(run.steps))
            assert not run.planner.failed([plan for plan, _ in run.flight]), members
            run.flight.clear()
        if leaves == 9:
            left.append(sequences[at // 2])
            run.planner.remove(left[-1])
    run.run()
    for sequence in sequences:
        wanted = answer(
            sequence.ids[: sequence.prompt_tokens], sequence.limit, frozenset() if sequence.exact else ends
        )
        told = [token for one, token in run.wrote if one is sequence]
        assert told == list(sequence.written)
        assert told == wanted[: len(told)]
        assert sequence.ended
        if sequence not in left:
            assert told == wanted
    assert not run.planner.waiting
    assert not run.planner.running
    for step in run.steps:
        assert sum(len(read.ids) for read in step.reads) + len(step.writes) <= budget


def _under_way(run: Drive) -> set[Sequence]:
    return {one for plan, _ in run.flight for one in plan.members if not one.ended}
