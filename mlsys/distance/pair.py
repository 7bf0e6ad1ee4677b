"""The distance of two vectors in memory: checked, planned once, computed as often as wanted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from torch.compiler import is_compiling

from mlsys.cuda_graph import GraphPool
from mlsys.distance import metrics, reductions
from mlsys.distance.arrays import as_tensor, becomes_numpy, in_dual_level, loses_gradient, name_of, tracked
from mlsys.distance.isolation import exposed, isolated, isolation
from mlsys.distance.launch import current_stream
from mlsys.distance.metrics import Array, Metric
from mlsys.distance.reductions import Reduction, Running, Shape
from mlsys.distance.reductions.blocked import BlockedRun, address, from_buffer
from mlsys.errors import UserError

MOST_KEPT = 64  # reductions that `distance` keeps ready, a thread


class _Kept(threading.local):
    """The calling thread's reductions, by what they were started for."""

    def __init__(self) -> None:
        self.running: dict[tuple[Any, ...], Running] = {}
        self.at: dict[tuple[Any, ...], Callable[[int, int], Array]] = {}  # the thinnest way to some of them


_kept = _Kept()


@dataclass
class Plan:
    """A distance of two fixed buffers.

    Calling it computes the distance of what the buffers hold then, enqueued on the device's current stream
    without waiting, and returns a 0-d tensor; the next call may overwrite that tensor.
    """

    x: torch.Tensor
    y: torch.Tensor
    running: Running
    graph: torch.cuda.CUDAGraph | None = None
    result: torch.Tensor = field(default_factory=lambda: torch.empty(()), repr=False)

    @property
    def reduction(self) -> str:
        """Name of the reduction that runs (never "auto")."""
        return self.running.name

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.x.device

    def __call__(self) -> torch.Tensor:
        """Compute."""
        if self.graph is not None:
            self.graph.replay()
            return self.result
        if exposed():
            with isolation():
                return self._computed()
        return self._computed()

    def _computed(self) -> torch.Tensor:
        if isinstance(self.running, BlockedRun):
            return self.running.once(self.x, self.y)
        self.running.add(self.x, self.y, 0)
        return self.running.finish()

    @isolated
    def capture(self) -> None:
        """From now on a call replays a CUDA graph: less work to launch, on the same buffers."""
        self.graph, self.result = GraphPool(self.device).capture(self)


@isolated
def plan(
    x: Any, y: Any, metric: str | Metric = "l2", reduction: str | Reduction = "auto", graph: bool = False
) -> Plan:
    """Plan the distance of two 1-D vectors of one length, dtype and device.

    x, y: what `arrays.as_tensor` reads: torch tensors, numpy arrays, lists and more, of float64, float32, float16,
    bfloat16 or int8. Raises UserError (a ValueError) for other dtypes, 2-D input, unequal lengths, tensors that require
    grad (but in `torch.no_grad()`), or a reduction that cannot run there.
    """
    a, b = as_tensor("x", x), as_tensor("y", y)
    check(a, b)
    shape = Shape(len(a), a.dtype, a.device, a.is_contiguous() and b.is_contiguous())
    found = Plan(a, b, reductions.get(reduction).start(shape, metrics.get(metric)))
    if graph:
        if a.device.type != "cuda":
            raise UserError(f"graph=True needs a GPU, not device={a.device.type}")
        found.capture()
    return found


def distance(
    x: Any, y: Any, metric: str | Metric = "l2", reduction: str | Reduction = "auto", dim: int | None = None
) -> Any:
    """The distance of two 1-D vectors: a 0-d tensor on their device, for what is not a tensor a numpy scalar.

    dim: of matrices, and of arrays of more dimensions, the distance of each pair of vectors along this dimension.
    Shapes broadcast: (B, n) and (B, n), (1, n) or (n,) give (B,). Strides may be any; one launch takes all pairs.

    Tensors that require grad have their gradient, twice if need be. Where none exists it is torch's: 0 for l1 and l2 of
    equal vectors. `torch.compile`, `torch.func` and fake tensors see one operator, `torch.ops.mlsys.distance`.

    float32, for float64 input float64. Definitions are those of scipy.spatial.distance (dot: the inner
    product). Empty vectors: 0, cosine nan; a zero norm: cosine nan; nan and inf propagate. Raises what `plan`
    raises. The bits depend on no state of torch's and not on the number of threads, see `isolation`.

    Threads may call together. A process forked after a call must not call: torch's threads, and the pool of this
    library, are not in it, and it would wait for them for ever; start processes with `spawn`.
    """
    if dim is not None or is_compiling():
        return _seen(x, y, metric, reduction, dim)
    if exposed():
        with isolation():
            return _distance(x, y, metric, reduction)
    return _distance(x, y, metric, reduction)


def _seen(x: Any, y: Any, metric: str | Metric, reduction: str | Reduction, dim: int | None = None) -> Any:
    """By the operator that torch sees."""
    from mlsys.distance.rows.paired import along

    return along(x, y, metric, reduction, dim)


def _distance(x: Any, y: Any, metric: str | Metric, reduction: str | Reduction) -> Any:
    if type(x) is np.ndarray and type(y) is np.ndarray:
        return _of_arrays(x, y, metric, reduction)
    if type(x) is torch.Tensor and type(y) is torch.Tensor:
        return of_tensors(x, y, metric, reduction)
    if tracked(x) or tracked(y):
        return _seen(x, y, metric, reduction)
    a, b = as_tensor("x", x), as_tensor("y", y)
    result = _started(a, b, metric, reduction).once(a, b)
    return result.numpy()[()] if becomes_numpy(x, a) else result


def of_tensors(
    x: torch.Tensor, y: torch.Tensor, metric: str | Metric, reduction: str | Reduction
) -> torch.Tensor:
    """The distance of two vectors, by their addresses, where vectors of this kind were checked before."""
    plain = x.is_cpu and y.is_cpu and not (x.requires_grad or y.requires_grad or x.is_neg() or y.is_neg())
    if plain and not in_dual_level():
        at = None
        try:
            if x.is_contiguous() and y.is_contiguous():
                at = _kept.at.get((metric, reduction, x.dtype, y.dtype, x.numel(), y.numel(), x.ndim, y.ndim))
            if at is not None:
                x_address, y_address = x.data_ptr(), y.data_ptr()
        except (RuntimeError, TypeError):  # of a layout without addresses; of a metric that cannot be a key
            at = None
        if at is not None:
            return torch.from_numpy(at(x_address, y_address))
    if tracked(x) or tracked(y):
        return cast(torch.Tensor, _seen(x, y, metric, reduction))
    if not (_ready(x) and _ready(y)):
        x, y = as_tensor("x", x), as_tensor("y", y)
    return _started(x, y, metric, reduction).once(x, y)


def _ready(vector: torch.Tensor) -> bool:
    """Whether `as_tensor` would give the vector as it is, but for its dtype and device, which `plan` looks at once."""
    return not loses_gradient(vector) and vector.layout == torch.strided and not vector.is_neg()


def _of_arrays(x: Array, y: Array, metric: str | Metric, reduction: str | Reduction) -> Any:
    """Without tensors where addresses will do: one over an array costs as much as the sums of a thousand elements."""
    key = (metric, reduction, x.dtype, y.dtype, x.shape, y.shape)
    try:
        at = _kept.at.get(key)
        if at is not None:
            x_address, y_address = address(from_buffer(x)), address(from_buffer(y))
    except (
        TypeError,
        ValueError,
    ):  # a metric that cannot be a key; an array that is read-only or not contiguous
        at = None
    if at is not None:
        return at(x_address, y_address)[()]
    a, b = as_tensor("x", x), as_tensor("y", y)
    running = _started(a, b, metric, reduction)
    if isinstance(running, BlockedRun) and running.at is not None and x.dtype.isnative and y.dtype.isnative:
        _kept.at[key] = running.at
    return running.once(a, b).numpy()[()]


def check(x: torch.Tensor, y: torch.Tensor) -> None:
    """Raise UserError unless x and y are 1-D, of one length, dtype and device."""
    for name, vector in (("x", x), ("y", y)):
        if vector.ndim != 1:
            raise UserError(f"{name} must be 1-D, not of shape {tuple(vector.shape)}; dim=-1 takes rows")
    check_pair(len(x), len(y), x.dtype, y.dtype)
    if x.device != y.device:
        raise UserError(f"x is on {x.device} and y on {y.device}: a distance needs both on one device")


def _started(x: torch.Tensor, y: torch.Tensor, metric: str | Metric, reduction: str | Reduction) -> Running:
    """A reduction that this thread started before on this stream for vectors of the same kind, or a new one.

    Vectors of the same kind have been checked before; so a small distance costs little more than its launch.
    """
    kept = _kept.running
    gpu = x.get_device()  # -1: a CPU
    stream = current_stream(gpu) if gpu >= 0 else 0
    cut = (x.shape, y.shape, x.stride(), y.stride())
    key = (metric, reduction, x.dtype, y.dtype, cut, gpu, y.get_device(), stream)
    try:
        running = kept.get(key)
    except TypeError:  # a metric or reduction that cannot be a key
        return plan(x, y, metric, reduction).running
    if running is None:
        if len(kept) >= MOST_KEPT:
            kept.clear()
            _kept.at.clear()
        kept[key] = running = plan(x, y, metric, reduction).running
        if isinstance(running, BlockedRun) and running.at is not None:
            kinds = (x.dtype, y.dtype, x.numel(), y.numel(), x.ndim, y.ndim)
            _kept.at[(metric, reduction, *kinds)] = running.at
    return running


def check_pair(x_n: int, y_n: int, x_dtype: torch.dtype, y_dtype: torch.dtype) -> None:
    """Raise UserError unless both vectors have one length and one dtype."""
    if x_n != y_n:
        raise UserError(f"x has {x_n} elements and y has {y_n}: a distance needs as many in both")
    if x_dtype != y_dtype:
        raise UserError(f"x is {name_of(x_dtype)} and y is {name_of(y_dtype)}: a distance needs one dtype")
