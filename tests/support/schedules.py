"""Drives a stepper through any schedule: what each sequence wrote in the end must not depend on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mlsys.rag.generator.stepping import GREEDY, Copy, Read, Sampling, Step, Stepper

Choose = Callable[[int, int], int]  # a whole number of [least, most]


@dataclass
class Sequence_:
    """One answer on its way. `read`: tokens its slot holds; `slot` None: it waits or was put off."""

    prompt: list[int]
    limit: int
    sampling: Sampling = GREEDY
    written: list[int] = field(default_factory=list)
    slot: int | None = None
    read: int = 0
    writing: bool = False  # its slot has its latest token

    @property
    def ids(self) -> list[int]:
        return self.prompt + self.written


def answers(
    stepper: Stepper,
    prompts: Sequence[list[int]],
    limits: Sequence[int],
    sampling: Sequence[Sampling] = (),
    choose: Choose = lambda least, most: most,
) -> list[list[int]]:
    """Every answer, each step holding what `choose` says: chunks, writes, loads, saves, and who is put off."""
    hows = sampling or [GREEDY] * len(prompts)
    todo = [Sequence_(list(p), n, how) for p, n, how in zip(prompts, limits, hows, strict=True)]
    free, known = list(range(stepper.slots)), dict[tuple[int, ...], int]()
    while unfinished := [one for one in todo if len(one.written) < one.limit]:
        _put_off(unfinished, free, choose)
        loads = _place(stepper, unfinished, free, known, choose)
        placed = [one for one in unfinished if one.slot is not None]
        reads = {id(one): read for one in placed if (read := _read(one, choose)) is not None}
        writes = [one for one in placed if id(one) not in reads and one.writing and choose(0, 3)]
        step = Step(tuple(reads.values()), tuple(one.slot for one in writes if one.slot is not None), loads)
        for one in writes:
            one.read += 1
        step = Step(step.reads, step.writes, loads, _saves(stepper, placed, known, choose))
        tokens = stepper.launch(step).tokens()
        givers = [one for one in placed if one in writes or (id(one) in reads and reads[id(one)].last)]
        assert set(tokens) == {one.slot for one in givers}
        for one in givers:
            assert one.slot is not None
            one.written.append(tokens[one.slot])
            one.writing = True
            if len(one.written) == one.limit:
                free.append(one.slot)
    return [one.written for one in todo]


def _put_off(unfinished: list[Sequence_], free: list[int], choose: Choose) -> None:
    for one in unfinished:
        if one.slot is not None and choose(0, 9) == 0:
            free.append(one.slot)
            one.slot, one.read, one.writing = None, 0, False


def _place(
    stepper: Stepper,
    unfinished: list[Sequence_],
    free: list[int],
    known: dict[tuple[int, ...], int],
    choose: Choose,
) -> tuple[Copy, ...]:
    """Waiting sequences into free slots, with the blocks that hold how they begin."""
    loads: list[Copy] = []
    for one in unfinished:
        if one.slot is None and free and choose(0, 4):
            one.slot = free.pop(choose(0, len(free) - 1))
            size = stepper.block_tokens
            while one.read + size < len(one.ids):
                block = known.get(tuple(one.ids[: one.read + size]))
                if block is None or not choose(0, 3):
                    break
                loads.append(Copy(one.slot, one.read, block))
                one.read += size
    return tuple(loads)


def _read(one: Sequence_, choose: Choose) -> Read | None:
    left = len(one.ids) - one.read
    if one.slot is None or one.writing or left < 1 or not choose(0, 3):
        return None
    part = choose(1, left)
    read = Read(one.slot, one.ids[one.read : one.read + part], one.read, part == left, one.sampling)
    one.read += part
    return read


def _saves(
    stepper: Stepper, placed: list[Sequence_], known: dict[tuple[int, ...], int], choose: Choose
) -> tuple[Copy, ...]:
    """Whole blocks of what slots hold after the step, into blocks that are still free."""
    saves: list[Copy] = []
    size = stepper.block_tokens
    for one in placed:
        for start in range(0, one.read - size + 1, size):
            key = tuple(one.ids[: start + size])
            if key not in known and len(known) < stepper.blocks and one.slot is not None and choose(0, 1):
                known[key] = len(known)
                saves.append(Copy(one.slot, start, known[key]))
    return tuple(saves)
