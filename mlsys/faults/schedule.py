"""`fault=schedule`: several faults, one after the other or at times of their own, and all of them again and again.

`fault=[kill,stop]` on the command line is `fault=schedule fault.faults=[kill,stop]`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from mlsys import defaults, signatures
from mlsys.errors import UserError
from mlsys.faults import Fault, at_least


class Schedule:
    """`faults`: names, or `{name: stop, at_s: 12, for_s: 3}` with whatever knobs that fault has.

    One without an `at_s` begins `every_s` after the one before. `again_s`: all of them again after so long, `times`
    times in all.
    """

    def __init__(self, name: str, faults: list[Any], every_s: float, again_s: float, times: int) -> None:
        at_least(name, "every_s", every_s, 0)
        at_least(name, "again_s", again_s, 0)
        at_least(name, "times", times, 1)
        if not faults:
            raise UserError("fault.faults=[] must name at least one fault")
        self.name, self._again_s, self._times = name, again_s, times
        self._faults = list[Fault]()
        for given in faults:
            usual_s = self._faults[-1].at_s + every_s if self._faults else None
            self._faults.append(_made(given, usual_s))

    def plan(self) -> list[Fault]:
        """Every fault of every round, in the order of their beginning."""
        planned = []
        for turn in range(self._times):
            for fault in self._faults:
                again = copy.copy(fault)
                again.at_s, again.seed = fault.at_s + turn * self._again_s, fault.seed + turn
                planned.append(again)
        return sorted(planned, key=lambda fault: fault.at_s)


def _made(given: Any, usual_s: float | None) -> Fault:
    own: dict[str, Any] = dict(given) if isinstance(given, Mapping) else {"name": given}
    known = [option for option in defaults.options("fault") if option not in ("none", "schedule", "watch")]
    if own.get("name") not in known:
        raise UserError(f"fault.faults: {own.get('name')} is none of {', '.join(known)}")
    section = defaults.section("fault", own["name"])
    if usual_s is not None:
        section["at_s"] = usual_s
    fault: Fault = signatures.make("fault", section | own)
    return fault
