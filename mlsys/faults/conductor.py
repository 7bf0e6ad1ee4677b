"""Runs a level's faults at their times and watches what the service makes of them, beside the load."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import psutil

from mlsys.faults import Fault
from mlsys.faults.residue import Held, held
from mlsys.faults.scene import Scene

LOOK_S = 0.04
NOTICE_S = 2.0  # after its end a fault is noticed no more
HOLD_S = 2.0  # between two looks at what the service holds
SETTLE_S = 60.0


@dataclass
class Happened:
    """One fault as it was. Unix times; `noticed_at`: the balancer took a target out, or asked another one."""

    what: str
    targets: list[str]
    begin_at: float = 0.0
    end_at: float | None = None
    noticed_at: float | None = None
    error: str | None = None
    noticeable: bool = True
    retries: float = 0.0


@dataclass
class Course:
    """What was seen of a level: its faults, how many replicas were in rotation when, and when all were again.

    `holds`: what the service held, and when.
    """

    begin_at: float
    happened: list[Happened] = field(default_factory=list)
    looks: list[tuple[float, int]] = field(default_factory=list)
    whole_at: float | None = None
    holds: list[tuple[float, Held]] = field(default_factory=list)


class Beside(Protocol):
    """What runs beside the load: threads, and the time that they wait for."""

    clock: Callable[[], float]

    def event(self) -> threading.Event:
        """A flag that such threads wait for."""

    def thread(self, work: Callable[[], None], name: str) -> threading.Thread:
        """A thread that is not yet started."""


class Real:
    """The machine's."""

    clock: Callable[[], float] = staticmethod(time.time)

    def event(self) -> threading.Event:
        """A thread's event."""
        return threading.Event()

    def thread(self, work: Callable[[], None], name: str) -> threading.Thread:
        """A thread that keeps no process alive."""
        return threading.Thread(target=work, name=name, daemon=True)


class Conductor:
    """`faults` in the order of their beginning. `begin` with a level's load, `finish` when all is answered."""

    def __init__(
        self,
        faults: Sequence[Fault],
        scene: Scene,
        beside: Beside | None = None,
        settle_s: float = SETTLE_S,
    ) -> None:
        self._beside = beside or Real()
        self._faults, self.scene, self._clock, self._settle_s = faults, scene, self._beside.clock, settle_s
        self._over, self._threads = self._beside.event(), list[threading.Thread]()
        self._pause = self._beside.event()
        self.ended_it = False  # whether a fault has ended the service's own process
        self.course = Course(0.0)

    def begin(self) -> None:
        """Time 0 of every `at_s` is now."""
        self._over.clear()
        self.course = Course(self._clock())
        self._threads = [self._beside.thread(self._watch, "watch")]
        self._threads += [
            self._beside.thread(partial(self._run, fault), fault.name) for fault in self._faults
        ]
        self._hold()
        for thread in self._threads:
            thread.start()

    @property
    def planned(self) -> int:
        """How many faults a level is to meet."""
        return len(self._faults)

    def finish(self) -> Course:
        """The load is over: what still lasts is ended; wait until the service is whole, or for `settle_s`."""
        self._over.set()
        for thread in self._threads[1:]:
            thread.join(self._settle_s)
        self._threads[0].join(self._settle_s)
        self._hold()
        return self.course

    def _run(self, fault: Fault) -> None:
        if self._over.wait(max(0.0, self.course.begin_at + fault.at_s - self._clock())):
            return
        targets = self.scene.targets(fault)
        happened = Happened(
            fault.what(targets), targets, retries=self._retries(), noticeable=fault.noticeable
        )
        self.ended_it |= fault.ends_it and not self.scene.replicas
        happened.begin_at = self._clock()
        self.course.happened.append(happened)
        try:
            fault.strike(self.scene, targets, self._over)
        except (psutil.Error, OSError, ValueError) as error:
            happened.error = f"{type(error).__name__}: {error}"
        happened.end_at = self._clock()

    def _hold(self) -> None:
        if (found := held(self.scene)) is not None:
            self.course.holds.append((self._clock(), found))

    def _retries(self) -> float:
        return self.scene.look().get(("retries_total", ""), 0.0)

    def _watch(self) -> None:
        """Look at the service until the faults are over and it is whole, or is not in time."""
        replicas, ended_at = self.scene.replicas, None
        while True:
            now, meters = self._clock(), self.scene.look()
            up = {name: meters.get(("replica_up", name), 0.0) == 1.0 for name in replicas}
            self.course.looks.append((now, sum(up.values())))
            if self.course.holds and now > self.course.holds[-1][0] + HOLD_S:
                self._hold()
            for one in self.course.happened:
                out = any(not up.get(target, True) for target in one.targets)
                current = one.noticeable and (one.end_at is None or now < one.end_at + NOTICE_S)
                if (
                    current
                    and one.noticed_at is None
                    and (out or meters.get(("retries_total", ""), 0.0) > one.retries)
                ):
                    one.noticed_at = now
            going = any(one.end_at is None for one in self.course.happened)
            well = all(up.values()) and self.scene.answers
            if going or not well:
                self.course.whole_at = None
            elif self.course.happened and self.course.whole_at is None:
                self.course.whole_at = now
            if self._over.is_set() and not going:
                ended_at = ended_at or now
                if well or self.ended_it or now > ended_at + self._settle_s:
                    return
            self._pause.wait(LOOK_S)
