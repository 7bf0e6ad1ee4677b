"""`python -m mlsys.dashboard outputs/…`: any runs and sweeps on one page; with `wandb`, as W&B views.

python -m mlsys.dashboard outputs/A outputs/B [--out index.html] [--watch] [--published CSV]
python -m mlsys.dashboard wandb --entity E --project P [outputs/… [--send]]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mlsys import formats, interrupts, progress, record
from mlsys.errors import UserError, command
from mlsys.files import replace
from mlsys.record import Record
from mlsys.report import page, published, table
from mlsys.report.rows import Row, Runs

TIMEOUT_S = 20.0


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, or 2 for a mistake."""
    words = list(sys.argv[1:] if words is None else words)
    return command(lambda: _wandb(words[1:]) if words[:1] == ["wandb"] else _page(words))


def _page(words: Sequence[str]) -> int:
    asked = _page_parser().parse_args(words)
    if not asked.interval > 0:
        raise UserError(f"--interval={asked.interval:g} must be more than 0")
    if asked.out.is_dir():
        raise UserError(f"--out={asked.out} is a directory: name a file, such as {asked.out / 'index.html'}")
    others = published.read(asked.published) if asked.published else []
    runs = gather(asked.paths)
    if not runs and not asked.watch:
        raise UserError(f"no record.json in {', '.join(str(path) for path in asked.paths)}")
    draw(asked.out, runs, asked.interval if asked.watch else None, others)
    print(table.console(runs))
    print(f"page: {asked.out.resolve()}")
    if asked.watch:
        interrupts.raise_interrupt()
        watch(asked.paths, asked.out, asked.interval, others)
    return 0


def _page_parser() -> argparse.ArgumentParser:
    about = (__doc__ or "").split("\n\n")[0]
    parser = argparse.ArgumentParser(prog="python -m mlsys.dashboard", description=about)
    add = parser.add_argument
    add("paths", nargs="+", type=Path, help="directories of runs or sweeps, or record.json files")
    add("--out", type=Path, default=Path("index.html"), help="where the page goes (%(default)s)")
    add("--watch", action="store_true", help="draw again whenever a record changes, until Ctrl-C")
    add("--interval", type=float, default=2.0, metavar="S", help="how often --watch looks (%(default)s s)")
    add(
        "--published",
        type=Path,
        metavar="CSV",
        help="others' figures beside ours: experiments/*/expected.csv",
    )
    return parser


def gather(paths: Sequence[Path]) -> Runs:
    """All records in and below the paths, oldest first, each once, then other tools' results.

    Raises UserError for a missing path.
    """
    others = list[tuple[Path, Record]]()
    found = dict[Path, tuple[Path, Record]]()
    for path in paths:
        if not path.exists():
            raise UserError(f"{path} is not there")
        foreign = _foreign(path) if path.is_file() else []
        ours = [] if foreign else record.find([path.parent if path.is_file() else path])
        others += foreign if path.is_file() or ours else _foreign(path)
        found |= {place.resolve(): (place, entry) for place, entry in ours}
    return [*sorted(found.values(), key=lambda run: (run[1].started_at, str(run[0]))), *others]


def _foreign(path: Path) -> list[tuple[Path, Record]]:
    """Other tools' results; below a directory only where it holds none of ours."""
    try:
        return formats.find(path)
    except ValueError as error:
        raise UserError(str(error)) from error


def draw(out: Path, runs: Runs, reload_s: float | None, published: Sequence[Row] = ()) -> Path:
    """Write the page to `out`."""
    return replace(out, page.render(out.parent, runs, reload_s, published))


def watch(
    paths: Sequence[Path],
    out: Path,
    interval_s: float,
    published: Sequence[Row] = (),
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Draw again whenever a record appears or changes, until Ctrl-C; the last page reloads no more."""
    seen: object = None
    try:
        while True:
            files = [file for path in paths for file in path.rglob(record.FILE_NAME)]
            now = sorted((str(file), _changed_ns(file)) for file in files)
            if now != seen:
                runs = gather(paths)
                draw(out, runs, interval_s, published)
                progress.say(f"{len(runs)} runs, {sum(entry.status == 'ok' for _, entry in runs)} ok")
                seen = now
            sleep(interval_s)
    except KeyboardInterrupt:
        draw(out, gather(paths), None, published)


def _changed_ns(file: Path) -> int:
    """When it was written last; 0 for one that has just gone."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


def _wandb(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m mlsys.dashboard wandb", description="Make W&B views in code."
    )
    parser.add_argument(
        "paths", nargs="*", type=Path, help="records, for --send and to choose the baseline run"
    )
    parser.add_argument("--entity", required=True, help="the W&B account or team")
    parser.add_argument("--project", default="mlsys", help="the W&B project (%(default)s)")
    parser.add_argument("--baseline", metavar="RUN", help="the id of the run to pin as baseline")
    parser.add_argument("--send", action="store_true", help="draw the records as runs in the project first")
    asked = parser.parse_args(words)
    runs = gather(asked.paths)
    if asked.send and not runs:
        raise UserError("--send needs records: python -m mlsys.dashboard wandb --send outputs/...")
    from mlsys.tracking import workspace
    from mlsys.tracking.wandb import WandbSink

    for place, entry in runs if asked.send else []:
        sink = WandbSink(
            name="online",
            mode="online",
            project=asked.project,
            entity=asked.entity,
            group=place.resolve().parent.name,
            timeout_s=TIMEOUT_S,
            requests=True,
        )
        sink.open(entry, place)
        sink.close(entry)
    for address in workspace.save(asked.entity, asked.project, runs, asked.baseline, TIMEOUT_S):
        print(address)
    return 0


if __name__ == "__main__":
    sys.exit(main())
