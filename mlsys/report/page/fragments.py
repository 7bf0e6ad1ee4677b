"""The page's HTML: everything that a record says is escaped here and nowhere else."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from mlsys.formats.foreign import tool_of
from mlsys.record import Record
from mlsys.report import findings, table
from mlsys.report.charts.panels import Panel
from mlsys.report.doubts import some
from mlsys.report.page import results
from mlsys.report.rows import Row, Runs, finite, flatten
from mlsys.report.table import Columns

MOST_COMMANDS = 12


def head(runs: Runs) -> str:
    """What is on the page, in one line, and when it was measured."""
    states = [record.status for _, record in runs]
    times = sorted(record.started_at for _, record in runs)
    span = "" if not times else times[0][:16].replace("T", " ")
    if times and times[-1][:16] != times[0][:16]:
        span += " to " + times[-1][:16].replace("T", " ")
    failed = len(states) - states.count("ok")
    words = f"{len(states)} run{'s' * (len(states) != 1)}" + (f", {failed} failed" if failed else "")
    simulated = sum(record.results.get("clock") == "virtual" for _, record in runs)
    if simulated:
        words = f"Simulated{'' if simulated == len(runs) else f' in part ({simulated} of the runs)'}: {words}"
    return f"<p class=lead>{escape(words)}{escape(f' · {span} UTC' if span else '')}</p>"


def answers(sections: Mapping[str, Sequence[Row]]) -> str:
    """What came out, in words: the first thing on the page."""
    said = [(name, text) for name, rows in sections.items() for text in findings.answers(name, rows)]
    if not said:
        return ""
    several = len({name for name, _ in said}) > 1
    items = "".join(f"<li>{escape(f'{name}: ' if several else '')}{escape(text)}</li>" for name, text in said)
    return f"<ul class=findings>{items}</ul>"


def warnings(found: Sequence[str], published: bool = False) -> str:
    """What a reader must know before believing the numbers."""
    if published:
        found = [*found, "rows named published are others' figures, from other hardware and another method"]
    if not found:
        return ""
    items = "".join(f"<li>{escape(text)}</li>" for text in found)
    return f"<div class=warnings role=note><h2>Before you believe these numbers</h2><ul>{items}</ul></div>"


def section(
    name: str,
    shown: Sequence[Panel],
    rows: Sequence[Row],
    columns: Columns,
    links: Sequence[str],
    titles: Mapping[int, str],
) -> str:
    """One workload: the plots, the free plot, the table."""
    plots = "".join(_plot(panel, rows) for panel in shown)
    return (
        f'<section id="{escape(name)}" data-workload="{escape(name)}"><h2>{escape(name.capitalize())}</h2>'
        + results.filters(rows, ["status", *columns.heads])
        + "<p class=drawn hidden></p>"
        + f"<div class=plots>{plots}</div>"
        + _explore()
        + results.table_of(rows, columns, links, titles)
        + "</section>"
    )


def _plot(panel: Panel, rows: Sequence[Row]) -> str:
    about = f"{panel.about} {panel.above}" if panel.above and _beyond(panel, rows) else panel.about
    title = f"<figcaption><h3>{escape(panel.title)}</h3><p>{escape(about)}</p></figcaption>"
    canvas = f'<div class=canvas data-plot="{escape(panel.name)}"></div>'
    return f'<figure class="plot {panel.kind}">{title}{canvas}</figure>'


def _beyond(panel: Panel, rows: Sequence[Row]) -> bool:
    """Whether a figure lies above the limit of its own row."""
    return any(
        finite(row.get(y)) and finite(row.get(limit)) and row[y] > row[limit]
        for row in rows
        for y in panel.y
        for limit in panel.limit
    )


def _explore() -> str:
    picks = "".join(
        f"<label>{text} <select data-axis={axis}></select></label>"
        f"<label><input type=checkbox data-log={axis}> log</label>"
        for axis, text in (("x", "across"), ("y", "up"))
    )
    return (
        "<details class=explore><summary>Choose the axes yourself</summary>"
        f"<div class=picks>{picks}</div><div class=canvas data-plot=explore></div></details>"
    )


def runs(records: Runs, links: Sequence[str], titles: Mapping[int, str]) -> str:
    """Each command once, with the records that came of it."""
    made: dict[str, list[str]] = {}
    for index, ((_, record), link) in enumerate(zip(records, links, strict=True)):
        said = ", ".join(
            [
                record.started_at[:19].replace("T", " "),
                record.status,
                f"config {record.config_digest[:12]}",
                *_heat(record),
            ]
        )
        problem = f"<p class=error>{escape(record.error)}</p>" if record.error else ""
        named = f'<a href="{escape(results.url(link))}">{escape(titles[index])}</a>'
        item = f"<li>{named} <small>{escape(said)}</small>{problem}</li>"
        made.setdefault("python " + shlex.join(record.command), []).append(item)
    listed = "".join(
        f"<li><pre><code>{escape(command)}</code></pre><details{' open' if len(items) < 7 else ''}>"
        f"<summary>{len(items)} record{'s' * (len(items) != 1)}</summary><ul>{''.join(items)}</ul></details></li>"
        for command, items in made.items()
    )
    if len(made) < MOST_COMMANDS:
        return f'<ol class="runs">{listed}</ol>'
    return f'<details><summary>{len(made)} commands</summary><ol class="runs">{listed}</ol></details>'


def _heat(record: Record) -> list[str]:
    """Temperature and clock of each GPU before and after the run."""
    moments = [record.environment.get(name) or {} for name in ("before", "after")]
    pairs = zip(*(moment.get("gpus") or [] for moment in moments), strict=False)
    return [
        f"GPU {before.get('temperature_c')} to {after.get('temperature_c')} °C, "
        f"{before.get('sm_mhz')} to {after.get('sm_mhz')} MHz"
        for before, after in pairs
    ]


def environments(records: Runs, titles: Mapping[int, str]) -> str:
    """The machines and software, each distinct one once, what differs between runs left to their records."""
    seen: dict[str, list[str]] = {}
    for index, (_, record) in enumerate(records):
        lasting = {key: value for key, value in record.environment.items() if key in LASTING}
        if tool := tool_of(record):
            lasting = {"measured by": tool} | dict.fromkeys(("hardware", "versions"), "unknown") | lasting
        seen.setdefault(json.dumps(lasting, sort_keys=True, default=str), []).append(titles[index])
    return "".join(_environment(json.loads(text), users, len(seen) == 1) for text, users in seen.items())


LASTING = {"hostname", "platform", "hardware", "driver", "versions", "git", "thread_variables"}


def _environment(content: Mapping[str, Any], users: Sequence[str], opened: bool) -> str:
    lines = "".join(
        f"<tr><th scope=row>{escape(key)}</th><td>{escape(table.text(value))}</td></tr>"
        for key, value in flatten(content).items()
        if value not in (None, "")
    )
    who = f"{len(users)} run{'s' * (len(users) != 1)}: {some(users)}"
    table_of = f"<div class=scroll><table>{lines}</table></div>"
    return f"<details{' open' if opened else ''}><summary>{escape(who)}</summary>{table_of}</details>"
