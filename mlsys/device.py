"""What `device=auto`, `cpu` or `cuda` means on this machine, and for this rank of several."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlsys import progress, ranks
from mlsys.errors import UserError

if TYPE_CHECKING:
    import torch


def resolve(name: str) -> torch.device:
    """The device that `device=name` means here. Raises UserError for a GPU that is not there."""
    import torch

    present = torch.cuda.is_available()
    if name == "cuda" and not present:
        raise UserError("device=cuda: this machine has no CUDA device that torch can use; device=cpu or auto")
    if name == "auto" and not present:
        progress.say("device=auto: no GPU here, the CPU computes")
    if not present or name == "cpu":
        return torch.device("cpu")
    if ":" in name:  # one of several, see `in_turn`
        return torch.device(name)
    return _own_gpu(name) if ranks.here().size > 1 else torch.device("cuda")


def _own_gpu(name: str) -> torch.device:
    """The GPU of this rank, current from now on."""
    import torch

    group, gpus = ranks.here(), torch.cuda.device_count()
    if group.local_size > gpus:
        raise UserError(
            f"device={name}: {group.local_size} ranks on a machine with {gpus} GPU(s), which need one each; "
            "device=cpu computes without"
        )
    torch.cuda.set_device(group.local_rank)
    return torch.device("cuda", group.local_rank)


def in_turn(name: str, count: int) -> list[str]:
    """The devices of `count` workers of one process: where `name` is a GPU and there are several, these in turn."""
    import torch

    gpus = torch.cuda.device_count() if name == "cuda" else 0
    return [f"cuda:{worker % gpus}" if gpus > 1 else name for worker in range(count)]


def enter(name: str) -> None:
    """Make a GPU that is named by its number this thread's own: kernels are launched on a thread's current one."""
    if name.startswith("cuda:"):
        import torch

        torch.cuda.set_device(torch.device(name))
