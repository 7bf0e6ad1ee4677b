"""The answer of serving runs: which setting wins at which load, by how much, how sure, and what to try next.

Settings are compared as `mlsys.report.service_findings` does: same work, same machine. A closed loop is won by
requests a second, an offered rate by its p95, or by the requests within the limits where there are limits. By Little's
law a closed loop's throughput is as sure as its mean latency, so intervals of that say which lead is more than chance
within the runs; another day's run may differ by more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlsys.report.names import Names, short
from mlsys.report.rows import Row, finite
from mlsys.report.service_findings import SAME, Levels, groups, runs_of
from mlsys.report.waits import middle

WORDS = {
    "throughput_rps": "times the requests/s of",
    "goodput_rps": "times the requests within the limits of",
    "e2e_ms.p95": "of the p95 of",
}
RISES = 1.1  # times the throughput of the load before: more load would bring more
FULL = 0.9  # of the largest batch, on average
REFUSED = 0.01
MOST_GROUPS, MOST_STEPS = 3, 2


@dataclass(frozen=True)
class Win:
    """Who is best at one load, who is next, by what factor, and whether the intervals lie apart (None: none told)."""

    load: float
    best: str
    second: str
    factor: float
    figure: str
    sure: bool | None


def summary(rows: Sequence[Row]) -> list[str]:
    """The answer of each group of runs that may be compared, then what to try next."""
    names = Names.of(rows)
    runs = runs_of(rows, names)
    compared = [group for group in groups(runs) if len(group) > 1]
    said = [sentence for group in compared[:MOST_GROUPS] for sentence in _group({n: runs[n] for n in group})]
    return said + _next(runs, compared)


def _group(runs: Mapping[str, Levels]) -> list[str]:
    loads = sorted(set.intersection(*(set(levels) for levels in runs.values())))
    wins = [
        win for load in loads if (win := _win(load, {name: levels[load] for name, levels in runs.items()}))
    ]
    said, at = [], 0
    while at < len(wins):
        alike = wins[at].factor < SAME
        end = at + 1
        while (
            end < len(wins)
            and (wins[end].factor < SAME) == alike
            and (alike or wins[end].best == wins[at].best)
        ):
            end += 1
        said.append(_told(wins[at:end], len(runs)))
        at = end
    return said


def _win(load: float, levels: Mapping[str, Sequence[Row]]) -> Win | None:
    """None where fewer than two settings have the figure."""
    rows = [row for found in levels.values() for row in found]
    closed = rows[0].get("concurrency") is not None
    limits = all(finite(row.get("goodput_rps")) for row in rows)
    figure = "goodput_rps" if limits else "throughput_rps" if closed else "e2e_ms.p95"
    values = {name: value for name, found in levels.items() if (value := middle(found, figure))}
    if len(values) < 2:
        return None
    order = sorted(values, key=lambda name: values[name], reverse=figure != "e2e_ms.p95")
    best, second = order[:2]
    factor = max(values[best], values[second]) / min(values[best], values[second])
    sure = _apart(levels[best], levels[second], "e2e_ms.mean" if closed else "e2e_ms.p95")
    return Win(load, best, second, factor, figure, sure)


def _apart(ours: Sequence[Row], theirs: Sequence[Row], figure: str) -> bool | None:
    ends = [middle(side, f"{figure}_{end}") for side in (ours, theirs) for end in ("low", "high")]
    if None in ends:
        return None
    low, high, its_low, its_high = (float(end or 0.0) for end in ends)
    return high < its_low or its_high < low


def _told(wins: Sequence[Win], settings: int) -> str:
    first = wins[0]
    where = f"At {short(first.load)}" + (f" to {short(wins[-1].load)}" if len(wins) > 1 else "")
    if first.factor < SAME:
        return f"{where}: {'both' if settings == 2 else f'the best of the {settings}'} settings are alike."
    factors = [1 / win.factor if win.figure == "e2e_ms.p95" else win.factor for win in wins]
    low, high = min(factors), max(factors)
    times = f"{low:.2f}" if high < SAME * low else f"{low:.2f} to {high:.2f}"
    seconds = list(dict.fromkeys(win.second for win in wins))
    than = " or ".join(seconds) if len(seconds) < 3 else "the next"
    return f"{where}: {first.best}, {times} {WORDS[first.figure]} {than}{_sure(wins)}."


def _sure(wins: Sequence[Win]) -> str:
    told = [win.sure for win in wins]
    if None in told:
        return ""
    if all(told):
        return " (more than chance: the 95 % intervals lie apart)"
    return " (perhaps by chance: the 95 % intervals overlap)" if not any(told) else (
        f" (more than chance at {sum(map(bool, told))} of {len(told)} loads)"
    )  # fmt: skip


def _next(runs: Mapping[str, Levels], compared: Sequence[Sequence[str]]) -> list[str]:
    """What a next run should change, the most telling first."""
    if not runs:
        return []
    fastest = max(
        runs, key=lambda name: max(middle(rows, "throughput_rps") or 0.0 for rows in runs[name].values())
    )
    levels = runs[fastest]
    top = levels[max(levels)]
    steps = [step for step in (_alone(runs, compared), _larger(top), _refused(top), _further(levels)) if step]
    return [f"Next: {'; '.join(steps[:MOST_STEPS])}."] if steps else []


def _alone(runs: Mapping[str, Levels], compared: Sequence[Sequence[str]]) -> str:
    if compared or len(runs) > 1:
        return ""
    return "compare settings under the same load, such as -m server=baseline,batch"


def _larger(top: Sequence[Row]) -> str:
    size, mean = top[0].get("config.batching.max_size"), middle(top, "batch_size.mean")
    server = top[0].get("config.server.replica") or top[0].get("config.server.name")
    if server != "batch" or not finite(size) or mean is None or size < 2 or mean < FULL * size:
        return ""
    return f"its batches are full, try batching.max_size={2 * int(size)}"


def _refused(top: Sequence[Row]) -> str:
    refused, asked = middle(top, "rejected"), middle(top, "requests")
    if not refused or not asked or refused < REFUSED * asked:
        return ""
    return f"{100 * refused / asked:.0f} % were refused, python -m mlsys.plan says how many replicas it takes"


def _further(levels: Levels) -> str:
    """Where more clients still bring more."""
    loads = sorted(levels)
    if len(loads) < 2 or levels[loads[-1]][0].get("concurrency") is None:
        return ""
    last, before = (middle(levels[load], "throughput_rps") for load in (loads[-1], loads[-2]))
    if not last or not before or last < RISES * before:
        return ""
    more = [times * int(loads[-1]) for times in (2, 4)]
    return f"throughput still rises at {short(loads[-1])}, try loadtest.concurrency=[{more[0]},{more[1]}]"
