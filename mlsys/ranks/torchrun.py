"""How ranks talk: objects and failures through one gloo group, sums and the timing's barriers through another.

Every rank makes the same exchanges in the same order. A rank that fails makes its next exchange a report of that, and
the job has then failed on all. As the timed calls have a group of their own, a rank that fails amid them is heard too.
"""

from __future__ import annotations

import json
import os
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from mlsys.errors import UserError, one_line, root
from mlsys.ranks import keepalive
from mlsys.ranks.group import VARIABLES, Group, LostRank, RankError

MEET_S = 120.0  # for all ranks to find each other
EXCHANGE_S = 1800.0  # how much longer one rank may take than another between two exchanges
DATA_S = 120.0  # the same within the timed calls, which begin together


@dataclass(frozen=True)
class Failure:
    """What a rank tells of its failure.

    `follows`: another rank's failure led to it. `broken`: the group of the sums no longer works.
    """

    text: str
    trace: str
    by_user: bool
    follows: bool
    broken: bool


class Agreed(Exception):
    """All ranks know that the job has failed; `error` is what this rank makes of it."""

    def __init__(self, error: Exception) -> None:
        self.error = error


class TorchrunGroup(Group):
    """This process among several. Raises UserError where they do not find each other."""

    def __init__(self) -> None:
        self.rank, self.size, self.local_rank = (int(os.environ[name]) for name in VARIABLES)
        self.local_size = int(os.environ.get("LOCAL_WORLD_SIZE", self.size))
        self.backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        try:
            dist.init_process_group("gloo", timeout=timedelta(seconds=MEET_S))
            self._control = dist.new_group(backend="gloo", timeout=timedelta(seconds=EXCHANGE_S))
            keepalive.watch_connections()
        except (RuntimeError, ValueError) as error:
            raise UserError(
                f"torchrun: rank {self.rank} did not find the others: {one_line(error)}"
            ) from error

    def exchange(self, value: Any) -> list[Any]:
        """What every rank gives, in rank order. Raises on all ranks if one has failed."""
        return self._report(value, None)

    def barrier(self) -> None:
        """Return when every rank has come here; for what is timed."""
        with answered():
            dist.all_reduce(torch.zeros(1), group=self.data)

    @contextmanager
    def job(self, config: dict[str, Any]) -> Iterator[None]:
        """Rank 0: give the others `config`; they follow until the body has ended on all."""
        self.exchange(config)
        with self.part():
            yield

    @contextmanager
    def part(self) -> Iterator[None]:
        """This rank's part in a job."""
        failed: Exception | None = None
        try:
            try:
                if self.data is None:
                    self.data = dist.new_group(backend=self.backend, timeout=timedelta(seconds=DATA_S))
                    keepalive.watch_connections()
                yield
                self.exchange(None)
            except Agreed:
                raise
            except Exception as error:
                self._report(None, error)
        except Agreed as agreed:
            failed = agreed.error
        if failed is not None:
            raise failed

    def configurations(self) -> Iterator[dict[str, Any]]:
        """On the ranks that follow: the configuration of every job that rank 0 begins."""
        while (config := self.exchange(None)[0]) is not None:
            yield config

    def end(self) -> None:
        """Rank 0 lets the others go; all leave the group."""
        if self.lost is not None:
            return
        if self.rank == 0:
            self.exchange(None)
        dist.destroy_process_group()

    def _report(self, value: Any, error: Exception | None) -> list[Any]:
        if self.lost is not None:
            raise LostRank(self.lost)
        try:
            with answered():
                reports = gather((value, error and asdict(_failure(error))), self.size, self._control)
        except LostRank as lost:
            self.lost = str(lost)
            raise
        failures = {
            rank: Failure(**failure) for rank, (_, failure) in enumerate(reports) if failure is not None
        }
        if failures:
            if any(failure.broken for failure in failures.values()):
                self.data = None
            raise Agreed(error_of(failures, self.rank, self.size, error))
        return [given for given, _ in reports]


def gather(given: Any, size: int, group: dist.ProcessGroup) -> list[Any]:
    """What every rank gives, in rank order. As JSON: what arrives over a network is never unpickled."""
    own = torch.frombuffer(bytearray(json.dumps(given).encode()), dtype=torch.uint8)
    lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(size)]
    dist.all_gather(lengths, torch.tensor([len(own)]), group=group)
    parts = [torch.zeros(int(max(lengths)), dtype=torch.uint8) for _ in range(size)]
    dist.all_gather(parts, torch.nn.functional.pad(own, (0, len(parts[0]) - len(own))), group=group)
    return [json.loads(part[: int(n)].numpy().tobytes()) for part, n in zip(parts, lengths, strict=True)]


def error_of(failures: dict[int, Failure], rank: int, size: int, own: Exception | None) -> Exception:
    """What `rank` of `size` raises: the first failure that no other led to, its own as it is, others' by their rank.

    What all ranks say alike is said without naming one.
    """
    first = min(failures, key=lambda other: (failures[other].follows, other))
    if own is not None and first == rank:
        return own
    failure = failures[first]
    alike = len(failures) == size and len({other.text for other in failures.values()}) == 1
    text = failure.text if alike else f"rank {first}: {failure.text}"
    error = UserError(text) if failure.by_user else RankError(text)
    error.add_note(failure.trace)
    return error


@contextmanager
def answered() -> Iterator[None]:
    """Raises LostRank where the body's collective finds no answer."""
    try:
        yield
    except RuntimeError as error:
        reason = re.sub(r"^\[.*?\] *", "", one_line(error)).split(". ")[
            0
        ]  # without the library's source line
        raise LostRank(f"a rank has gone or hangs: {reason}") from error


def _failure(error: Exception) -> Failure:
    cause = root(error)
    return Failure(
        text=one_line(cause),
        trace="".join(traceback.format_exception(error)),
        by_user=isinstance(cause, UserError),
        follows=isinstance(error, RankError),
        broken=isinstance(error, LostRank),
    )
