"""The report's answer before its table: which side is faster where, by how much, how sure, and what to do next."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mlsys.compare import figures
from mlsys.compare.judge import Line

ALIKE = "no detectable difference"
MOST_METRICS, MOST_NAMES = 3, 3
FINE = 0.1  # a difference that is smaller need not be seen


def answer(lines: Sequence[Line], confidence: float) -> list[str]:
    """A sentence for each of the first figures that differ, how sure it is, and what to do next."""
    decided = [line for line in lines if line.verdict != ALIKE]
    metrics = list(dict.fromkeys(line.metric for line in decided))
    said = [
        _metric(metric, [line for line in lines if line.metric == metric])
        for metric in metrics[:MOST_METRICS]
    ]
    if metrics[MOST_METRICS:]:
        said.append(f"So do {', '.join(metrics[MOST_METRICS:])}.")
    unseen = max(_unseen(line) for line in lines)
    if not decided:
        figure = f"{len(lines)} figures" if len(lines) > 1 else lines[0].metric
        hidden = (
            f"less than {100 * unseen:.0f} % would not show"
            if unseen < math.inf
            else "these runs could show none"
        )
        said.append(f"No detectable difference in {figure}; {hidden}.")
    else:
        said.append(f"All of it together with {100 * confidence:g} % confidence.")
    if len(decided) < len(lines) and unseen > FINE:
        said.append(
            "Next: more runs of both narrow the intervals, best in turn (-m and compare.interleave=true)."
        )
    return said


def _unseen(line: Line) -> float:
    """So large a change of this figure could go unseen."""
    between = line.interval
    if not (between.ratio > 0 and between.low > 0):
        return math.inf
    return max(between.high / between.ratio, between.ratio / between.low) - 1


def _metric(metric: str, lines: Sequence[Line]) -> str:
    """`B is faster: throughput_rps 1.50 to 2.50 times A's at 5, 20; no detectable difference at 1.`."""
    parts = []
    for verdict in ("faster", "slower"):
        if found := [line for line in lines if line.verdict == verdict]:
            ratios = [line.interval.ratio for line in found]
            times = f"{min(ratios):.2f}" + (
                f" to {max(ratios):.2f}" if max(ratios) >= 1.01 * min(ratios) else ""
            )
            parts.append(f"B is {verdict}: {metric} is {times} times A's{_where(found)}")
    if rest := [line for line in lines if line.verdict == ALIKE]:
        parts.append(f"{ALIKE}{_where(rest)}")
    more = "higher" if figures.higher_is_better(metric) else "lower"
    return f"{'; '.join(parts)} ({more} is better)."


def _where(lines: Sequence[Line]) -> str:
    loads = list(dict.fromkeys(f"{line.load:g}" for line in lines if line.load is not None))
    names = [name for name in dict.fromkeys(line.name for line in lines) if name != "all"]
    said = f" at {', '.join(loads)}" if loads else ""
    if not names:
        return said
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"{said} ({', '.join(names[:MOST_NAMES])}{more})"
