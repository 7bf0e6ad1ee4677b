"""`GET /docs`: the interface as one plain page made from the OpenAPI document, without any network but this service."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

Schema = Mapping[str, Any]

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .2rem; border-top: 1px solid #8884; padding-top: 1rem; }
pre { background: #8881; padding: .6rem .8rem; border-radius: 6px; overflow-x: auto; }
table { border-collapse: collapse; } th, td { text-align: left; vertical-align: top; padding: .15rem 1rem .15rem 0; }
"""
LIMITS = {"minLength": "at least {} characters", "maxLength": "at most {} characters", "minimum": "at least {}",
          "exclusiveMinimum": "more than {}", "maximum": "at most {}"}  # fmt: skip


def render(document: Schema, base_url: str) -> str:
    """The page for an OpenAPI 3.1 document; `base_url` stands in the examples."""
    parts = [
        _operation(document, method, path, operation, base_url.rstrip("/"))
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    title = escape(document["info"]["title"])
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{title}</title><link rel="icon" href="data:,">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style>'
        f'<h1>{title}</h1><p>For programs: <a href="openapi.json">openapi.json</a>. '
        f'To ask by hand: <a href="./">here</a>. '
        f"Where a key is required, send it as <code>Authorization: Bearer KEY</code>.</p>{''.join(parts)}</html>"
    )


def _operation(document: Schema, method: str, path: str, operation: Schema, base_url: str) -> str:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    asked = _resolved(document, body) if body else {}
    example = f"curl {base_url}{path}"
    if asked:
        required = dict.fromkeys(asked.get("required", []), "…")
        example += f" -H 'content-type: application/json' -d '{json.dumps(required, ensure_ascii=False)}'"
    answers = {code: found.get("description", "") for code, found in operation["responses"].items()}
    return (
        f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(operation.get('description', ''))}</p>"
        f"<pre>{escape(example)}</pre>"
        + _table("Body", {name: _words(field) for name, field in asked.get("properties", {}).items()})
        + _table(
            "Answer",
            {name: _words(_resolved(document, field)) for name, field in _answer(document, operation)},
        )
        + _table("Status", answers)
    )


def _answer(document: Schema, operation: Schema) -> list[tuple[str, Schema]]:
    """The fields of the answer when all goes well."""
    good: Schema = next((found for code, found in operation["responses"].items() if code.startswith("2")), {})
    schema = good.get("content", {}).get("application/json", {}).get("schema", {})
    return list(_resolved(document, schema).get("properties", {}).items())


def _resolved(document: Schema, schema: Schema) -> Schema:
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    return document["components"]["schemas"][name] if name else schema


def _words(field: Schema) -> str:
    """A field's type, limits, default and meaning."""
    kinds = [kind for kind in field.get("anyOf", [field]) if kind.get("type") != "null"]
    said = [" or ".join(str(kind.get("type", "object")) for kind in kinds)]
    said += [text.format(kind[limit]) for kind in kinds for limit, text in LIMITS.items() if limit in kind]
    if field.get("default") is not None:
        said.append(f"default {field['default']}")
    about = field.get("description", "")
    return ", ".join(said) + (f". {about}" if about else "")


def _table(title: str, lines: Mapping[str, str]) -> str:
    rows = "".join(
        f"<tr><th>{escape(str(name))}</th><td>{escape(text)}</td></tr>" for name, text in lines.items()
    )
    return f"<details open><summary>{title}</summary><table>{rows}</table></details>" if rows else ""
