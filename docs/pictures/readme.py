"""README as one page of HTML, in the type and width that GitHub gives it: python docs/pictures/readme.py PAGE.html"""

from __future__ import annotations

import sys
from pathlib import Path

import markdown

ROOT = Path(__file__).resolve().parents[2]
STYLE = """
body { box-sizing: border-box; max-width: 1012px; margin: 0 auto; padding: 32px; color: #1f2328;
  font: 16px/1.5 -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif }
h1, h2 { padding-bottom: .3em; border-bottom: 1px solid #d1d9e0; line-height: 1.25 }
h2 { margin-top: 24px }
pre { padding: 16px; overflow: auto; background: #f6f8fa; border-radius: 6px; font-size: 85%; line-height: 1.45 }
code { font-family: ui-monospace, "Liberation Mono", monospace }
:not(pre) > code { padding: .2em .4em; font-size: 85%; background: #818b981f; border-radius: 6px }
img { max-width: 100% }
table { border-collapse: collapse }
th, td { padding: 6px 13px; border: 1px solid #d1d9e0 }
a { color: #0969da }
"""


def main() -> None:
    text = markdown.markdown((ROOT / "README.md").read_text(), extensions=["tables", "fenced_code"])
    base = f'<base href="{ROOT.as_uri()}/">'
    page = f'<!doctype html><meta charset="utf-8">{base}<style>{STYLE}</style>{text}'
    Path(sys.argv[1]).write_text(page)


if __name__ == "__main__":
    main()
