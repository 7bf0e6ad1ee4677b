"""What serving runs say in words: what failed, the answer of a search for a rate, each mode against its baseline.

Two runs are only held against each other where they differ in how requests are served, and in nothing else: the same
load, models, corpus, machine and server limits. A level that is marked invalid is not used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlsys.compare import match
from mlsys.record.knobs import is_care, tells_work
from mlsys.report import equal_answers, fault_findings, waits
from mlsys.report.names import Names, short
from mlsys.report.rows import CONFIG, Row, each_record, finite
from mlsys.report.table import text
from mlsys.report.waits import middle

ABOUT = ("server.name", "batching.", "balancer.", "scheduling.")
LOADS = ("loadtest.concurrency", "loadtest.request_rate")
BESIDES = ("machine", "hardware", "pipeline.retriever.")  # what must be the same as well
SAME = 1.03  # figures that lie closer than this are called alike
Levels = dict[float, list[Row]]


def summary(rows: Sequence[Row], most: int) -> list[str]:
    """The sentences, at most `most` comparisons."""
    names = Names.of(rows)
    runs = runs_of(rows, names)
    compared = _against(runs, most) or _among(runs, most)
    return (
        fault_findings.summary(rows, names)
        + _unanswered(rows, names)
        + _rates(rows, names)
        + compared
        + waits.whole(runs)
        + equal_answers.summary(rows)
    )


def runs_of(rows: Sequence[Row], names: Names) -> dict[str, Levels]:
    """Each run's levels by load, of those that are valid and served anything."""
    runs: dict[str, Levels] = {}
    for row in rows:
        if finite(row.get("load")) and _rate(row) > 0 and row.get("valid") is not False:
            runs.setdefault(names.full(row), {}).setdefault(row["load"], []).append(row)
    return runs


def _rate(row: Row) -> float:
    value = row.get("throughput_rps")
    return value if finite(value) else 0.0


def _unanswered(rows: Sequence[Row], names: Names) -> list[str]:
    """Each run's worst level where fewer than half of the requests were answered."""
    worst: dict[str, Row] = {}
    for row in rows:
        if finite(row.get("success_rate")) and row["success_rate"] < 0.5:
            before = worst.setdefault(names.full(row), row)
            worst[names.full(row)] = min(before, row, key=lambda one: float(one["success_rate"]))
    said = []
    for name, row in worst.items():
        parts = [
            f"{row[key]:g} {key.replace('_', ' ')}"
            for key in ("timed_out", "rejected", "failed")
            if finite(row.get(key)) and row[key]
        ]
        share = text(row["success_rate"], "success_rate") if row["success_rate"] else "none"
        of = f" of {row['requests']:g}" if finite(row.get("requests")) else ""
        said.append(
            f"{name} {_at(row)}: {share}{of} requests answered ({', '.join(parts) or 'no reason told'})."
        )
    return said[:4] + ([f"The same in {len(said) - 4} more runs."] if len(said) > 4 else [])


def _rates(rows: Sequence[Row], names: Names) -> list[str]:
    """The answer of `loadtest=slo_search`."""
    said = []
    for row in each_record(rows):
        if "slo.max_rate_rps" not in row:
            continue
        share, limit = row.get("config.loadtest.share"), row.get("slo_ms", row.get("config.loadtest.slo_ms"))
        wanted = f"{text(share, 'goodput')} of requests within {text(limit)} ms"
        best, missed = row["slo.max_rate_rps"], row.get("slo.missed_rate_rps")
        beyond = f" and misses it at {text(missed)}" if finite(missed) else " (no tried rate missed it)"
        if row.get("slo.ended"):
            beyond += f"; the search ended: {row['slo.ended']}"
        if finite(best):
            said.append(f"{names.full(row)}: answers {wanted} up to {text(best)} req/s{beyond}.")
        else:
            said.append(f"{names.full(row)}: at no tried rate answers {wanted}{beyond}.")
    return said


def _against(runs: Mapping[str, Levels], most: int) -> list[str]:
    """Each run against the baseline that differs from it in nothing but the mode, at their highest common load."""
    found: dict[str, list[tuple[float, str]]] = {}
    works = {name: Work.of(_first(levels)) for name, levels in runs.items()}
    baselines = [name for name, levels in runs.items() if _mode(_first(levels)) == "baseline"]
    for name, levels in runs.items():
        partner = next((runs[other] for other in baselines if works[name].same(works[other])), None)
        if name in baselines or partner is None or not (shared := set(levels) & set(partner)):
            continue
        load = max(shared)
        ours, theirs = levels[load], partner[load]
        rate, base = (middle(side, "throughput_rps") for side in (ours, theirs))
        words = f"{name} {_at(ours[0])}: {text(rate)} req/s"
        if rate is not None and base:
            words += f", {rate / base:.2f}× the baseline"
        words += waits.less(ours, theirs) + waits.fewer(ours, theirs)
        found.setdefault(_mode(ours[0]), []).append((rate or 0.0, words))
    return _shortened(found, most)


def _shortened(found: Mapping[str, Sequence[tuple[float, str]]], most: int) -> list[str]:
    """All sentences, or where they are many the best of each mode."""
    if sum(map(len, found.values())) <= most:
        return [words + "." for each in found.values() for _, words in each]
    return [
        max(each)[1] + (f": the best of {len(each)} settings." if len(each) > 1 else ".")
        for each in found.values()
    ]


def _among(runs: Mapping[str, Levels], most: int) -> list[str]:
    """Without a baseline: of the runs that may be compared the best and the worst at their highest common load."""
    said = []
    for group in groups(runs):
        shared = set.intersection(*(set(runs[name]) for name in group)) or set(runs[group[0]])
        load = max(shared)
        said.append(_ranked({name: runs[name][load] for name in group if load in runs[name]}))
    return said[:most]


def groups(runs: Mapping[str, Levels]) -> list[list[str]]:
    """The names of runs that may be held against each other."""
    found: list[tuple[Work, list[str]]] = []
    for name, levels in runs.items():
        work = Work.of(_first(levels))
        members = next((members for other, members in found if work.same(other)), None)
        if members is None:
            found.append((work, [name]))
        else:
            members.append(name)
    return [members for _, members in found]


def _ranked(levels: Mapping[str, Sequence[Row]]) -> str:
    """The best and the worst of these runs at one load: by rate, or at an offered rate by p95."""
    row = next(iter(levels.values()))[0]
    by = "throughput_rps" if row.get("concurrency") is not None else "e2e_ms.p95"
    figures = {name: value for name, rows in levels.items() if (value := middle(rows, by)) is not None}
    if not figures:
        return f"{next(iter(levels))} {_at(row)}: {text(middle(levels[next(iter(levels))], 'throughput_rps'))} req/s."
    order = sorted(figures, key=lambda name: figures[name], reverse=by == "throughput_rps")
    best, worst = order[0], order[-1]
    told = f"{best}: {_figures(levels[best])}"
    if len(order) == 1:
        return f"{best} {_at(row)}: {_figures(levels[best])}."
    where = _at(row).capitalize()
    if max(figures.values()) < SAME * min(figures.values()):
        return f"{where} all {len(order)} settings are alike. {told}."
    return f"{where} the best of {len(order)} settings is {told}. The worst is {worst}: {_figures(levels[worst])}."


def _figures(rows: Sequence[Row]) -> str:
    words = f"{text(middle(rows, 'throughput_rps'))} req/s"
    for figure, word in (("e2e_ms.p95", "p95"), ("ttft_ms.p50", "first token")):
        if (value := middle(rows, figure)) is not None:
            words += f", {word} {text(value)} ms"
    return words


@dataclass(frozen=True)
class Work:
    """What a run was asked to do and on what: all of its settings but how requests are served, and the machine."""

    rest: str
    server: Mapping[str, str]

    @classmethod
    def of(cls, row: Row) -> Work:
        """The work of the row's run."""
        plain = match.plain_settings(
            {key.removeprefix(CONFIG): value for key, value in row.items() if key.startswith(CONFIG)}
        )
        left_out = (*ABOUT, *LOADS)
        kept = {
            key: str(value)
            for key, value in plain.items()
            if not key.startswith(left_out) and not is_care(key)
        }
        server = {key: value for key, value in kept.items() if key.startswith("server.")}
        rest = {key: value for key, value in kept.items() if key not in server}
        rest |= {key: str(row[key]) for key in row if tells_work(key) or key.startswith(BESIDES)}
        return cls(str(sorted(rest.items())), server)

    def same(self, other: Work) -> bool:
        """Whether two runs may be held against each other. A setting that only one mode has belongs to that mode."""
        common = self.server.keys() & other.server.keys()
        return self.rest == other.rest and all(self.server[key] == other.server[key] for key in common)


def _at(row: Row) -> str:
    """`at 20` clients, or `at 3.3 req/s offered`."""
    return f"at {short(row['load'])}" + ("" if row.get("concurrency") is not None else " req/s offered")


def _mode(row: Row) -> str:
    return str(row.get("config.server.name"))


def _first(levels: Levels) -> Row:
    return next(iter(levels.values()))[0]
