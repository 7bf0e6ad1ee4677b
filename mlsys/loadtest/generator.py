"""All levels of one load: each repeat sent, its rows judged, and what came of it said as it ends."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from mlsys.loadtest import agreement, gate, leaving, rows, server_counters
from mlsys.loadtest.arrivals import make
from mlsys.loadtest.arrivals.closed import ClosedLoop
from mlsys.loadtest.client_health import Several, Watch, validity
from mlsys.loadtest.clients import Clients
from mlsys.loadtest.collector import no_full_collections
from mlsys.loadtest.driver import Asks, Driver, LevelRun
from mlsys.loadtest.lengths import Lengths
from mlsys.loadtest.options import AUTO, Load
from mlsys.loadtest.phases import Phases
from mlsys.loadtest.questions import Order, Questions, Zipf
from mlsys.loadtest.rows import OK, Row
from mlsys.loadtest.scraping.scraper import Scraper
from mlsys.loadtest.sessions import sessions
from mlsys.loadtest.share import WHOLE, Share
from mlsys.loadtest.spec import Spec
from mlsys.loadtest.statistics import summarise
from mlsys.record import Scalar

Say = Callable[..., None]
REPORT_EVERY_S = 0.2
LONE_REQUESTS = 3


class Progress:
    """Counts answers and reports them now and then."""

    def __init__(self, say: Say) -> None:
        self._say, self._count, self._said_at = say, 0, 0.0

    def answered(self) -> None:
        """One more."""
        self.came(1)

    def came(self, count: int) -> None:
        """So many more."""
        self._count += count
        if time.monotonic() - self._said_at > REPORT_EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Report what has not been reported."""
        self._say("answered", count=self._count)
        self._count, self._said_at = 0, time.monotonic()


class Generator:
    """All levels of one specification, against one service.

    `say` is told the events; `clock` gives seconds; `watch` looks at the client while a level runs, and what `scraper`
    makes at a stranger's service.
    """

    def __init__(
        self,
        spec: Spec,
        client: Asks,
        say: Say,
        clock: Callable[[], float] = time.monotonic,
        watch: type[Watch] = Watch,
        scraper: Callable[[], Scraper] | None = None,
        clients: Clients | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._scraper, self._clients, self._watch = scraper, clients, watch
        self.spec, self.client, self._say, self._clock = spec, client, say, clock
        self.load, self.arrivals = Load(**spec.load), make(spec.arrivals)
        self.progress, self.rows = Progress(say), list[Row]()
        self._processes = self.load.processes if isinstance(self.load.processes, int) else 1
        asking = leaving.Leaving(client, spec.leavers) if spec.leavers else client
        self.driver = Driver(asking, self.progress.answered, spec.hang_up, watch, wall)

    async def run(self) -> None:
        """Measure every level, saying each as it ends."""
        began, done = self._clock(), list[tuple[float, dict[str, Any]]]()
        values = await self._alone() if self.arrivals.needs_slo else {}
        while "slo.ended" not in values and (level := self.arrivals.next_level(done)) is not None:
            if self._too_long(level, self._clock() - began):
                values["slo.ended"] = f"loadtest.max_total_s={self.arrivals.max_total_s:g}"
                break
            done.append((level, await self._level(len(done), level)))
        self._say("end", values=agreement.describe(self.rows) | self.arrivals.conclusion(done) | values)

    async def _alone(self) -> dict[str, Scalar]:
        """The fastest of a few requests, one by one: where it misses the SLO, no rate is worth a level."""
        phases = Phases(0, LONE_REQUESTS, None, keep_load=False)
        self._say("begin", level={"concurrency": 1}, repeat=0, total=LONE_REQUESTS)
        length = Lengths(self.load.output_tokens).drawn(self.spec.seed)

        def blank(number: int) -> Row:
            return Row(0, 0, max_tokens=length(number))

        lone = await self.driver.run(ClosedLoop(1), phases, self._questions(0, 0), blank)
        self.progress.flush()
        good = [row for row in lone.rows if row.outcome == OK]
        values: dict[str, Scalar] = {"slo.lone_ms": min((row.e2e_ms for row in good), default=None)}
        if not good:
            values["slo.ended"] = f"a lone request fails: {lone.rows[-1].error}"
        for name, limit in self.load.limits.items():
            best = min((value for row in good if (value := getattr(row, name)) is not None), default=0.0)
            if best > limit:
                what = "takes" if name == "e2e_ms" else f"has a {name.removesuffix('_ms')} of"
                values["slo.ended"] = f"a lone request {what} {best:.4g} ms"
        return values

    def _too_long(self, level: float, passed_s: float) -> bool:
        rate, limit_s = self.arrivals.describe(level).get("offered_rate_rps"), self.arrivals.max_total_s
        if rate is None or limit_s is None:
            return False
        return passed_s + self.load.repeats * self.phases(level).expected_s(rate) > limit_s

    async def _level(self, index: int, level: float) -> dict[str, Any]:
        while True:
            values, samples, found = await self._measured(index, level)
            if not self._more_clients(values):
                break
        self.rows += found
        if self.spec.directory:
            rows.write(Path(self.spec.directory), self.rows)
        self._say("level", values=values, samples=samples)
        return values

    def _more_clients(self, values: Mapping[str, Any]) -> bool:
        """Whether the client was the limit, and twice as many processes may do (`loadtest.processes=auto`)."""
        most = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if self.load.processes != AUTO or self._clients is None or values["valid"] or self._processes >= most:
            return False
        self._processes = min(2 * self._processes, most)
        return True

    async def _measured(self, index: int, level: float) -> tuple[dict[str, Any], Any, list[Row]]:
        before = server_counters.read(await self.client.get(server_counters.PATH))
        async with AsyncExitStack() as around:
            scraper = await around.enter_async_context(self._scraper()) if self._scraper else None
            repeats = [await self._repeat(index, level, turn) for turn in range(self.load.repeats)]
        after = server_counters.read(await self.client.get(server_counters.PATH))
        found = [row for repeat in repeats for row in repeat.rows]
        values, samples = self._judge(level, repeats)
        values |= server_counters.difference(before, after)
        values |= scraper.values(found) if scraper else {}
        return values, samples, found

    def phases(self, level: float, share: Share = WHOLE, turn: int = 0) -> Phases:
        """What this share's requests are."""
        load, warmup = self.load, self.load.warmup_requests
        measured = load.measured_requests(self.arrivals.default_requests)
        if warmup is None:
            warmup = self.arrivals.warmup(level, measured)
        process = self.arrivals.process(level, self.spec.seed + turn)
        own = None if measured is None else share.count(warmup + measured) - share.count(warmup)
        phases = Phases(share.count(warmup), own, load.duration_s, keep_load=not process.open_loop)
        if share != WHOLE:
            phases.held = phases.keep_load
            if process.open_loop and load.duration_s is not None:
                for _ in range(warmup):
                    process.sent()
                phases.started_s = process.due_s(0.0, 0)
        return phases

    async def _repeat(self, index: int, level: float, turn: int) -> LevelRun:
        described = self.arrivals.describe(level)
        phases = self.phases(level, turn=turn)
        total = None if phases.requests is None else phases.warmup + phases.requests
        self._say("begin", level=described, repeat=turn, total=total)
        if self.spec.gated:
            await gate.passed(Path(self.spec.directory), index)
        self._watch.prepare()
        of = min(self._processes, int(described.get("concurrency", self._processes)))
        if of == 1 or self._clients is None:
            done = await self.share(index, level, turn, WHOLE, phases)
        else:
            done = await self._clients.run(of, index, level, turn, self.progress.came)
        self.progress.flush()
        return done

    async def share(
        self, index: int, level: float, turn: int, share: Share, phases: Phases, begin_s: float | None = None
    ) -> LevelRun:
        """Send this share of one repeat."""
        described = self.arrivals.describe(level)
        concurrency, rate = described.get("concurrency"), described.get("offered_rate_rps")
        clients = None if concurrency is None else int(concurrency)
        length = Lengths(self.load.output_tokens).drawn(self.spec.seed + turn)

        def blank(number: int) -> Row:
            tokens = length(share.number(number))
            return Row(index, turn, max_tokens=tokens, concurrency=clients, offered_rate_rps=rate)

        process = share.arrivals(self.arrivals.process(level, self.spec.seed + turn))
        questions = share.questions(self._questions(index, turn))
        with no_full_collections():
            return await self.driver.run(process, phases, questions, blank, self.load.think_time_s, begin_s)

    def _questions(self, index: int, turn: int) -> Questions:
        asked, seed = sessions(self.spec.questions, self.load.turns), self.spec.seed
        if self.load.zipf_s is None:
            chosen: Questions = Order(asked, seed + turn)
        else:
            chosen = Zipf(asked, self.load.zipf_s, seed, (index, turn))
        return chosen if self.arrivals.script is None else self.arrivals.script.questions(chosen, seed)

    def _judge(self, level: float, repeats: list[LevelRun]) -> tuple[dict[str, Any], Any]:
        values, samples = summarise([repeat.rows for repeat in repeats], self.load.limits)
        together = [row for repeat in repeats for row in repeat.rows]
        lags_ms = [lag for repeat in repeats for lag in repeat.watch.lags_ms]
        cpu_share = max(repeat.watch.cpu_share for repeat in repeats)
        open_loop = self.arrivals.process(level, self.spec.seed).open_loop
        valid = validity(together, lags_ms, cpu_share, open_loop)
        valid |= Several.describe([repeat.watch for repeat in repeats])
        return self.arrivals.describe(level) | values | valid | agreement.describe(together), samples
