"""`fault=slow_client`: a share of the clients' connections send and read at a crawl (slowloris, a bad mobile link)."""

from __future__ import annotations

from mlsys.faults import SERVICE, at_least, between
from mlsys.faults.detour import Bent, Rule


class SlowClient(Bent):
    """`share` of the connections, drawn by `seed`, carry `bytes_per_s` each way."""

    way = "client"
    virtual = noticeable = False
    did = "a share of the clients was slow"

    def __init__(
        self, name: str, at_s: float, for_s: float, seed: int, share: float, bytes_per_s: float
    ) -> None:
        super().__init__(name, at_s, SERVICE, seed, for_s)
        between(name, "share", share, 0, 1)
        at_least(name, "bytes_per_s", bytes_per_s, 1)
        self.share, self.bytes_per_s = share, bytes_per_s

    def made(self) -> Rule:
        """Some crawl."""
        return Rule(bytes_per_s=self.bytes_per_s, share=self.share, seed=self.seed)
