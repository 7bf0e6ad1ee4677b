"""The table of results on the page, its filters and what they need in the markup."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from urllib.parse import quote

from mlsys.report import table
from mlsys.report.rows import Row, is_number, label
from mlsys.report.table import Columns

ROWS_AT_ONCE = 50
MOST_OPTIONS = 40


def filters(rows: Sequence[Row], keys: Sequence[str]) -> str:
    """A field to find words and a choice for each of `keys` in which the rows differ."""
    selects = []
    for key in keys:
        values = list(dict.fromkeys(table.text(row.get(key)) for row in rows))
        if 1 < len(values) <= MOST_OPTIONS:
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


def table_of(rows: Sequence[Row], columns: Columns, links: Sequence[str], titles: Mapping[int, str]) -> str:
    """The table: a row a run or load level, the first cells say which; of many the first are shown."""
    names = [name for name in columns.all if name != "run" or name in columns.heads]
    filters = ["status", *columns.heads]
    heads = "".join(
        f"<th scope=col{' class=n' if table.numeric(rows, name) else ''}>"
        f"<button type=button>{_heading(label(name))}</button></th>"
        for name in names
    )
    body = []
    for index, row in enumerate(rows):
        kept = json.dumps([table.text(row.get(key)) for key in filters])
        record = row["record"]
        link = None if record is None else links[record]
        cells = [_named(row, names[0], link, "" if record is None else titles[record])]
        cells += [_cell(row, name) for name in names[1:]]
        state = "" if row["status"] == "ok" and row.get("valid") is not False else " class=failed"
        late = "" if index < ROWS_AT_ONCE else " hidden"
        body.append(f'<tr data-row={index} data-keys="{escape(kept)}"{state}{late}>{"".join(cells)}</tr>')
    return (
        f"<div class=scroll tabindex=0 role=region aria-label=results><table data-at-once={ROWS_AT_ONCE} "
        f'data-keys="{escape(json.dumps(filters))}"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
        "<p class=more hidden><button type=button data-more></button></p>"
    )


def _heading(words: str) -> str:
    """A heading that may break after its dots and underscores."""
    return escape(words).replace(".", ".<wbr>").replace("_", "_<wbr>")


def _named(row: Row, name: str, link: str | None, title: str) -> str:
    """The first cell of a row, which leads to the record; its title is the run's whole name and directory."""
    shown = escape(table.text(row.get(name), name)) or "—"
    about = escape(" — ".join(text for text in (title, str(row["run"])) if text))
    named = shown if link is None else f'<a href="{escape(url(link))}">{shown}</a>'
    exact = repr(row[name]) if is_number(row.get(name)) else str(row.get(name) or "")
    return f'<th scope=row data-v="{escape(exact)}" title="{about}">{named}</th>'


def _cell(row: Row, name: str) -> str:
    value = row.get(name)
    shown = escape(table.text(value, name))
    if is_number(value):
        return f'<td class=n data-v="{value!r}">{shown}</td>'
    if name in {"error", "run"}:
        return f'<td class="long {name}" title="{shown}">{shown}</td>'
    return f"<td>{shown}</td>"


def url(path: str) -> str:
    """A relative path as it stands in a link."""
    return quote(path)
