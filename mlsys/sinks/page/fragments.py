"""The page's HTML: everything that a record says is escaped here and nowhere else."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from mlsys.record import Record
from mlsys.sinks import findings, table
from mlsys.sinks.panels import Panel
from mlsys.sinks.rows import Row, Runs, flatten, is_number, label, run_names, varying


def head(runs: Runs) -> str:
    """What is on the page, in one line, and when it was measured."""
    states = [record.status for _, record in runs]
    times = sorted(record.started_at for _, record in runs)
    span = "" if not times else times[0][:16].replace("T", " ")
    if times and times[-1][:16] != times[0][:16]:
        span += " to " + times[-1][:16].replace("T", " ")
    failed = len(states) - states.count("ok")
    words = f"{len(states)} run{'s' * (len(states) != 1)}" + (f", {failed} failed" if failed else "")
    return f"<p class=lead>{escape(words)}{escape(f' · {span} UTC' if span else '')}</p>"


def warnings(runs: Runs, published: bool = False) -> str:
    """What a reader must know before believing the numbers."""
    found = findings.warnings(runs)
    if published:
        found.append("rows named published are others' figures, from other hardware and another method")
    if not found:
        return ""
    items = "".join(f"<li>{escape(text)}</li>" for text in found)
    return f"<div class=warnings role=note><h2>Before you believe these numbers</h2><ul>{items}</ul></div>"


def section(
    name: str, shown: Sequence[Panel], rows: Sequence[Row], columns: Sequence[str], links: Sequence[str]
) -> str:
    """One workload: what came out in words, the plots, the free plot, the table."""
    said = "".join(f"<li>{escape(text)}</li>" for text in findings.summary(name, rows))
    plots = "".join(_plot(panel) for panel in shown)
    return (
        f'<section id="{escape(name)}" data-workload="{escape(name)}"><h2>{escape(name.capitalize())}</h2>'
        + (f"<ul class=findings>{said}</ul>" if said else "")
        + _filters(rows)
        + f"<div class=plots>{plots}</div>"
        + _explore()
        + _table(rows, columns, links)
        + "</section>"
    )


def _plot(panel: Panel) -> str:
    title = f"<figcaption><h3>{escape(panel.title)}</h3><p>{escape(panel.about)}</p></figcaption>"
    canvas = f'<div class=canvas data-plot="{escape(panel.name)}"></div>'
    return f'<figure class="plot {panel.kind}">{title}{canvas}</figure>'


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


def _filters(rows: Sequence[Row]) -> str:
    selects = []
    for key in ["status", *varying(rows)]:
        values = list(dict.fromkeys(table.text(row.get(key)) for row in rows))
        if 1 < len(values) <= 40:
            options = "".join(
                f'<option value="{escape(value)}">{escape(value) or "—"}</option>' for value in values
            )
            selects.append(
                f'<label>{escape(label(key))} <select data-filter="{escape(key)}">'
                f'<option value="*">all</option>{options}</select></label>'
            )
    return (
        "<div class=filters><label>find <input type=search data-find placeholder='in any column'></label>"
        + "".join(selects)
        + f"<button type=button data-clear>show all</button><output>{len(rows)} of {len(rows)}</output></div>"
    )


def _table(rows: Sequence[Row], columns: Sequence[str], links: Sequence[str]) -> str:
    filters = ["status", *varying(rows)]
    heads = "".join(
        f"<th scope=col><button type=button>{escape(label(name))}</button></th>" for name in columns
    )
    body = []
    for index, row in enumerate(rows):
        kept = json.dumps({key: table.text(row.get(key)) for key in filters})
        link = None if row["record"] is None else links[row["record"]]
        cells = "".join(_cell(row, name, link) for name in columns)
        state = "" if row["status"] == "ok" else " class=failed"
        body.append(f'<tr data-row={index} data-keys="{escape(kept)}"{state}>{cells}</tr>')
    return (
        f"<div class=scroll tabindex=0 role=region aria-label=results><table><thead><tr>{heads}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _cell(row: Row, name: str, link: str | None) -> str:
    value = row.get(name)
    shown = escape(table.text(value, name))
    if name == "run":
        full = escape(str(value))
        named = shown if link is None else f'<a href="{escape(_url(link))}">{shown}</a>'
        return f'<th scope=row data-v="{full}" title="{full}">{named}</th>'
    if is_number(value):
        return f'<td class=n data-v="{value!r}" title="{value!r}">{shown}</td>'
    if name == "error":
        return f'<td class=error data-v="{shown}" title="{shown}">{shown}</td>'
    return f'<td data-v="{shown}">{shown}</td>'


def _url(path: str) -> str:
    from urllib.parse import quote

    return quote(path)


def runs(records: Runs, links: Sequence[str]) -> str:
    """Each command once, with the records that came of it."""
    names = run_names([place for place, _ in records])
    made: dict[str, list[str]] = {}
    for (_, record), name, link in zip(records, names, links, strict=True):
        said = ", ".join(
            [
                record.started_at[:19].replace("T", " "),
                record.status,
                f"config {record.config_digest[:12]}",
                *_heat(record),
            ]
        )
        problem = f"<p class=error>{escape(record.error)}</p>" if record.error else ""
        item = f'<li><a href="{escape(_url(link))}">{escape(name)}</a> <small>{escape(said)}</small>{problem}</li>'
        made.setdefault("python " + shlex.join(record.command), []).append(item)
    return "".join(
        f"<li><pre><code>{escape(command)}</code></pre><details{' open' if len(items) < 7 else ''}>"
        f"<summary>{len(items)} record{'s' * (len(items) != 1)}</summary><ul>{''.join(items)}</ul></details></li>"
        for command, items in made.items()
    )


def _heat(record: Record) -> list[str]:
    """Temperature and clock of each GPU before and after the run."""
    moments = [record.environment.get(name) or {} for name in ("before", "after")]
    pairs = zip(*(moment.get("gpus") or [] for moment in moments), strict=False)
    return [
        f"GPU {before.get('temperature_c')} to {after.get('temperature_c')} °C, "
        f"{before.get('sm_mhz')} to {after.get('sm_mhz')} MHz"
        for before, after in pairs
    ]


def environments(records: Runs) -> str:
    """The machines and software, each distinct one once, what differs between runs left to their records."""
    seen: dict[str, list[str]] = {}
    names = run_names([place for place, _ in records])
    for (_, record), name in zip(records, names, strict=True):
        lasting = {key: value for key, value in record.environment.items() if key in LASTING}
        seen.setdefault(json.dumps(lasting, sort_keys=True, default=str), []).append(name)
    return "".join(_environment(json.loads(text), users) for text, users in seen.items())


LASTING = {"hostname", "platform", "hardware", "driver", "versions", "git", "thread_variables"}


def _environment(content: Mapping[str, Any], users: Sequence[str]) -> str:
    lines = "".join(
        f"<tr><th scope=row>{escape(key)}</th><td>{escape(table.text(value))}</td></tr>"
        for key, value in flatten(content).items()
        if value not in (None, "")
    )
    who = f"{len(users)} run{'s' * (len(users) != 1)}: {', '.join(users[:5])}{' …' if len(users) > 5 else ''}"
    table_of = f"<div class=scroll><table>{lines}</table></div>"
    return f"<details open><summary>{escape(who)}</summary>{table_of}</details>"
