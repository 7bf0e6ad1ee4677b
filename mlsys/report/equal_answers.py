"""Whether modes gave the same answers to the same load, as far as records tell: by the digests of measured answers.

Only float32 promises it, and only levels all of whose requests were answered asked the same. `mlsys.compare` looks at
the answers themselves, question by question.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlsys.report.names import Names, short
from mlsys.report.rows import Row, finite

ASKED = ("load", "requests", "repeats", "config.seed", "config.corpus.name", "config.generator.name")
OF_LOAD = "config.loadtest."
LEFT_OUT = ("config.loadtest.concurrency", "config.loadtest.request_rate")  # the level's own is `load`


def summary(rows: Sequence[Row]) -> list[str]:
    """One sentence of the runs that were told alike at their loads, and one a load where some were not."""
    names = Names.of(rows)
    alike: set[str] = set()
    said = []
    for levels in _groups(rows).values():
        told: dict[str, list[str]] = {}
        for row in levels:
            told.setdefault(str(row["answers_digest.measured"]), []).append(names.full(row))
        if len(told) == 1 and len(set(*told.values())) > 1:
            alike |= set(*told.values())
        elif len(told) > 1:
            most = max(told.values(), key=len)
            others = dict.fromkeys(name for who in told.values() if who is not most for name in who)
            where = f"At a load of {short(levels[0]['load'])}"
            said.append(
                f"{where} {', '.join(others)} gave other answers than {', '.join(dict.fromkeys(most))}."
            )
    if alike and not said:
        who = "Both" if len(alike) == 2 else f"All {len(alike)}"
        said.append(f"{who} gave the same answers to the same questions, at every load.")
    return said


def _groups(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        if not _comparable(row):
            continue
        load = sorted((key, str(row[key])) for key in row if key.startswith(OF_LOAD) and key not in LEFT_OUT)
        work = [str(row.get(key)) for key in ASKED]
        found.setdefault(str([work, load]), []).append(row)
    return found


def _comparable(row: Row) -> bool:
    return (
        row.get("config.generator.dtype") == "float32"
        and row.get("config.server.name") != "external"
        and row.get("answers_digest.measured") is not None
        and row.get("config.loadtest.duration_s") is None
        and finite(row.get("load"))
        and row.get("succeeded") == row.get("requests")
    )
