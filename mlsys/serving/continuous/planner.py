"""What is in each step: which sequences write, which prompts are read and how much of them, who is put off, who leaves.

Pure: it hands out `Step`s and is told their tokens, later, in order. A step may be planned before the tokens of the one
before it are known (then a sequence whose end is not known yet writes once more, and that token is dropped).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from mlsys.rag.generator.stepping import Copy, Read, Step
from mlsys.serving.continuous.blocks import Node, PrefixCache
from mlsys.serving.continuous.sequence import Sequence
from mlsys.serving.scheduling import Policy


@dataclass
class Plan:
    """One step being put together. `who`: the sequences that get a token, by slot. `members`: all that are in it.

    `entered` have a slot from now on, `put_off` have none any more. `late`: all before it were done when it
    was launched.
    """

    number: int
    budget: int
    launched_at: float = 0.0
    late: bool = False
    entered: list[Sequence] = field(default_factory=list)
    put_off: list[Sequence] = field(default_factory=list)
    who: dict[int, Sequence] = field(default_factory=dict)
    members: list[Sequence] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    writes: list[int] = field(default_factory=list)
    loads: list[Copy] = field(default_factory=list)
    saves: list[Copy] = field(default_factory=list)

    @property
    def step(self) -> Step:
        """What the engine is told."""
        return Step(tuple(self.reads), tuple(self.writes), tuple(self.loads), tuple(self.saves))


class Planner:
    """`slots`: most sequences at once. `ends`: end tokens."""

    def __init__(self, policy: Policy, slots: int, ends: frozenset[int], cache: PrefixCache) -> None:
        self.policy, self.ends, self.cache = policy, ends, cache
        self.slots = min(slots, policy.max_step_tokens)  # so that a step has room for each running sequence
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []  # in the order in which they entered
        self.suspects: deque[Sequence] = deque()
        self.put_off = self.number = 0
        self._free = list(reversed(range(self.slots)))

    def add(self, sequence: Sequence) -> None:
        """It waits from now on."""
        self.policy.joined(sequence)
        self.waiting.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        """It is finished, or nobody wants it any more: its place is free in the next step that is planned."""
        if sequence.ended:
            return
        sequence.ended = True
        if sequence in self.suspects:
            self.suspects.remove(sequence)
        if sequence.slot is not None:
            self._vacate(sequence)
        elif sequence in self.waiting:
            self.waiting.remove(sequence)
            self.policy.left(sequence)

    def hopeless(self, now: float) -> list[Sequence]:
        """Those who are to be refused. They are removed."""
        found = [one for one in self.waiting if self.policy.is_hopeless(one, now)]
        for sequence in found:
            self.remove(sequence)
        return found

    def plan(self) -> Plan | None:
        """The next step; None where nobody has anything to do in it."""
        plan = Plan(self.number, self.policy.max_step_tokens)
        running = [one for one in self.running if one is self.suspects[0]] if self.suspects else self.running
        writing = [one for one in running if one.held >= one.target]
        plan.budget -= len(writing)
        for sequence in [one for one in running if one.held < one.target]:
            self._read(sequence, plan)
        self._let_in(plan)
        self._write(writing, plan)
        for sequence in [one for one in plan.members if one.planned == one.limit]:
            self._vacate(sequence)
        if not plan.members:
            return None
        self.number += 1
        return plan

    def _write(self, writing: list[Sequence], plan: Plan) -> None:
        """One more token for each that still has its slot. A step has many of them: no call for each."""
        for sequence in writing:
            if (slot := sequence.slot) is not None:
                plan.writes.append(slot)
                plan.members.append(sequence)
                plan.who[slot] = sequence
                sequence.planned += 1
                sequence.in_flight += 1

    def told(self, plan: Plan, tokens: Mapping[int, int]) -> list[Sequence]:
        """The step's tokens. Those that have one more; `ended` says who has all of them."""
        found, together = list[Sequence](), len(plan.members)
        for slot, sequence in plan.who.items():
            sequence.in_flight -= 1
            if sequence.ended:
                continue
            token, ids = tokens[slot], sequence.ids
            ids.append(token)
            sequence.steps += 1
            sequence.together += together
            found.append(sequence)
            if len(ids) - sequence.prompt_tokens == sequence.limit or (
                token in self.ends and not sequence.exact
            ):
                self.remove(sequence)
            elif self.suspects and sequence in self.suspects:
                self.suspects.remove(sequence)
        self.policy.wrote(found)
        return found

    def failed(self, plans: list[Plan]) -> list[Sequence]:
        """An error came with one of these steps, all that were under way. Those that can be blamed for it.

        Where several may be to blame they are put off, to be read again each in a step of its own: who fails alone is.
        """
        members = list(dict.fromkeys(one for plan in plans for one in plan.members if not one.ended))
        self.cache.clear()
        for sequence in self.running:
            sequence.node = None
        for sequence in members:
            sequence.in_flight = 0
            sequence.planned = sequence.count
            if sequence.slot is not None:
                self._put_off(sequence)
            elif sequence not in self.waiting:
                self.add(sequence)
        if len(members) == 1:
            self.remove(members[0])
            return members
        self.suspects.extend(one for one in members if one not in self.suspects)
        return []

    def _let_in(self, plan: Plan) -> None:
        for sequence in self._line():
            if plan.budget <= 0:
                return
            if sequence.in_flight:  # it was put off, and its latest token is still to come
                continue
            found = self.cache.find(sequence.ids)
            if any(node.made_in == plan.number for node in found):
                continue  # another reads what it begins with in this very step: in the next it is there to be loaded
            if not self._free and not self._make_room(sequence, plan):
                return
            self._enter(sequence, found, plan)

    def _line(self) -> list[Sequence]:
        if self.suspects:
            return [one for one in self.waiting if one is self.suspects[0]]
        return sorted(self.waiting, key=self.policy.key)

    def _enter(self, sequence: Sequence, found: list[Node], plan: Plan) -> None:
        self.waiting.remove(sequence)
        self.policy.entered(sequence)
        self.running.append(sequence)
        plan.entered.append(sequence)
        slot = sequence.slot = self._free.pop()
        size = self.cache.block_tokens
        sequence.node = self.cache.take(sequence.ids, found)
        plan.loads += [Copy(slot, place * size, node.block) for place, node in enumerate(found)]
        sequence.held, sequence.target = len(found) * size, len(sequence.ids)
        self._read(sequence, plan)

    def _read(self, sequence: Sequence, plan: Plan) -> None:
        """As much of it as the step has room for."""
        start = sequence.held
        end = min(start + plan.budget, sequence.target)
        if end == start or sequence.slot is None:
            return
        ids, is_last = sequence.ids[start:end], end == sequence.target
        plan.reads.append(Read(sequence.slot, ids, start, is_last, sequence.sampling))
        plan.members.append(sequence)
        plan.budget -= end - start
        sequence.held = end
        self._save(sequence, sequence.slot, range(start, end), plan)
        if is_last:
            self._release(sequence)
            self._gives(sequence, plan)

    def _save(self, sequence: Sequence, slot: int, read: range, plan: Plan) -> None:
        """Keep the blocks that are whole now."""
        size = self.cache.block_tokens
        for start in range(read.start // size * size, read.stop // size * size, size):
            if sequence.node is None:
                return
            tokens = tuple(sequence.ids[start : start + size])
            sequence.node, is_new = self.cache.extend(sequence.node, tokens, plan.number)
            if sequence.node is not None and is_new:
                plan.saves.append(Copy(slot, start, sequence.node.block))

    def _gives(self, sequence: Sequence, plan: Plan) -> None:
        """The step gives the sequence's next token."""
        if sequence.slot is not None:
            plan.who[sequence.slot] = sequence
        sequence.planned += 1
        sequence.in_flight += 1

    def _make_room(self, sequence: Sequence, plan: Plan) -> bool:
        """Put off one that gives way, the last in the policy's order."""
        below = [
            one
            for one in self.running
            if self.policy.gives_way(one, sequence) and one not in plan.members and one not in self.suspects
        ]
        if not below:
            return False
        victim = max(below, key=self.policy.key)
        plan.budget += victim.is_writing
        plan.put_off.append(victim)
        self._put_off(victim)
        return True

    def _put_off(self, sequence: Sequence) -> None:
        self._vacate(sequence)
        sequence.held = sequence.target = 0
        sequence.is_new = False
        self.put_off += 1
        self.add(sequence)

    def _vacate(self, sequence: Sequence) -> None:
        """Its slot is free: what is launched from now on comes after all that used it."""
        self._release(sequence)
        self.running.remove(sequence)
        if sequence.slot is not None:
            self._free.append(sequence.slot)
        sequence.slot = None

    def _release(self, sequence: Sequence) -> None:
        if sequence.node is not None:
            self.cache.release(sequence.node)
        sequence.node = None
