"""`python -m mlsys.compare A B`: what differs between A's and B's runs, and which differences are noise.

Exit code 0; 1 with --fail-if-slower where a figure of B is detectably slower than that; 2 for a mistake or
for runs that do not compare.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from mlsys.compare import conditions, faults, figures, judge, match
from mlsys.compare.answer import answer
from mlsys.compare.judge import Line, Options
from mlsys.compare.match import Matching
from mlsys.errors import UserError, command
from mlsys.formats.foreign import tool_of
from mlsys.report import terminal
from mlsys.report.rows import COURSE, label
from mlsys.report.table import text
from mlsys.report.terminal import Column

COLORS = {"faster": "green", "slower": "red"}


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    asked = _parser().parse_args(words)
    return command(lambda: _run(asked))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mlsys.compare", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("a", type=Path, metavar="A", help="a record.json, a run's or a sweep's directory")
    parser.add_argument("b", type=Path, metavar="B", help="what is compared with it")
    parser.add_argument(
        "--metric", action="append", default=[], help="a result's name, such as wall_ms; may be given again"
    )
    parser.add_argument(
        "--fail-if-slower", metavar="5%", help="exit 1 where B is detectably slower, by more than this"
    )
    parser.add_argument(
        "--noise", default="2%", help="how much two runs of the same thing differ as a rule (%(default)s)"
    )
    parser.add_argument("--confidence", default="95%", help="of the report as a whole (%(default)s)")
    parser.add_argument(
        "--force", action="store_true", help="compare although model, data or hardware differ"
    )
    parser.add_argument("--json", action="store_true", help="print the lines as JSON")
    return parser


def share(option: str, words: str) -> float:
    """`5%` or `0.05` as 0.05. Raises UserError naming the option."""
    try:
        number = float(words.rstrip("% ")) / (100 if words.strip().endswith("%") else 1)
    except ValueError:
        raise UserError(f"{option}={words} is not a share such as 5% or 0.05") from None
    if not 0 <= number < 1:
        raise UserError(f"{option}={words} must be at least 0% and less than 100%")
    return number


def _run(asked: argparse.Namespace) -> int:
    limit = None if asked.fail_if_slower is None else share("--fail-if-slower", asked.fail_if_slower)
    floor, confidence = share("--noise", asked.noise), share("--confidence", asked.confidence)
    found = match.match(match.load(asked.a), match.load(asked.b))
    if not found.pairs:
        raise UserError(f"no run of {asked.a} has the configuration of one of {asked.b}; {_why(found)}")
    names = match.names(found.pairs)
    states = [conditions.check(pair) for pair in found.pairs]
    other = [
        f"{name}: {reason}" for name, state in zip(names, states, strict=True) for reason in state.other_work
    ]
    if other and not asked.force:
        raise UserError(
            f"these runs did different work or ran on different hardware ({'; '.join(other[:4])}); --force"
        )
    lines = judge.lines(found.pairs, names, Options(tuple(asked.metric), floor, confidence))
    if not lines:
        raise UserError(f"--metric={','.join(asked.metric)}: no run of both sides has it; {_metrics(found)}")
    notes = dict.fromkeys(other + [note for state in states for note in state.notes])
    said = [told for pair in found.pairs if (told := judge.answers(pair))]
    said += [told for pair in found.pairs if (told := faults.told(pair))]
    if asked.json:
        print(json.dumps([asdict(line) | {"verdict": line.verdict} for line in lines], indent=1))
    else:
        for sentence in answer(lines, confidence):
            print(sentence)
        _print(found, lines, [*said, *notes], asked)
    slow = [
        line for line in lines if limit is not None and line.verdict == "slower" and line.slowdown > limit
    ]
    for line in slow:
        print(
            f"slower than allowed: {_title(line)} {line.metric} by {100 * line.slowdown:.1f} %",
            file=sys.stderr,
        )
    return 1 if slow else 0


def _why(found: Matching) -> str:
    if found.not_ok and not (found.alone_a or found.alone_b):
        return f"{len(found.not_ok)} failed"
    return f"{len(found.alone_a)} and {len(found.alone_b)} runs without a partner, {len(found.not_ok)} failed"


def _metrics(found: Matching) -> str:
    record = found.pairs[0].a[0][1]
    some = list(record.samples) or list(figures.DEFAULTS)
    named = dict.fromkeys(name.split(".", 2)[-1] for name in some if f".{COURSE}." not in name)
    return "it has " + ", ".join(named)


def _title(line: Line) -> str:
    return " ".join([line.name, *([f"at {line.load:g}"] if line.load is not None else [])])


def _print(found: Matching, lines: Sequence[Line], notes: Sequence[str], asked: argparse.Namespace) -> None:
    print(f"A  {asked.a}\nB  {asked.b}")
    first = found.pairs[0]
    nothing = "unknown" if any(tool_of(entry) for _, entry in (*first.a, *first.b)) else None
    for key, sides in first.differs.items():
        left, right = (nothing if side is None else side for side in sides)
        if key.endswith("name") or len(first.differs) <= 6:
            print(f"   {label(key)}: {left} against {right}")
    print(_table(lines, terminal.width()))
    for note in notes:
        print(f"note: {note}")
    for what, places in (("A", found.alone_a), ("B", found.alone_b)):
        if places:
            print(f"note: {len(places)} runs of {what} without a partner: {_some(places)}")
    if found.not_ok:
        print(f"note: left out, since they failed: {_some(found.not_ok)}")


def _some(places: Sequence[Path]) -> str:
    return ", ".join(os.path.basename(place) for place in places[:4]) + (" …" if len(places) > 4 else "")


def _table(lines: Sequence[Line], room: int | None) -> str:
    verdicts = [line.verdict for line in lines]
    between = [f"{line.interval.low:.3f} to {line.interval.high:.3f}" for line in lines]
    columns = [
        Column("", [_title(line) for line in lines], kept=True),
        Column("metric", [line.metric for line in lines], kept=True),
        Column("A", [text(line.a) for line in lines], numeric=True, kept=True),
        Column("B", [text(line.b) for line in lines], numeric=True, kept=True),
        Column("B/A", [f"{line.interval.ratio:.3f}" for line in lines], numeric=True, kept=True),
        Column("B is", verdicts, kept=True, styles=[COLORS.get(said, "") for said in verdicts]),
        Column("interval", between, numeric=True),
        Column("noise", [f"{100 * line.interval.noise:.1f} %" for line in lines], numeric=True),
        Column("runs", [f"{line.runs[0]}, {line.runs[1]}" for line in lines], numeric=True),
    ]
    return terminal.draw("", columns, room, [False] * len(lines), "--json has them")


if __name__ == "__main__":
    sys.exit(main())
