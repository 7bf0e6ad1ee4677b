"""CuPy on the GPU, where installed: the plain expression, and cuBLAS for the dot product."""

from __future__ import annotations

import torch

from mlsys.distance.baseline import Prepared, Unavailable, best, evaluate
from mlsys.distance.metrics import Metric

WHERE = "device"
EXPRESSIONS = {
    "l2": "cupy.linalg.norm(x - y)",
    "sqeuclidean": "((x - y) ** 2).sum()",
    "l1": "cupy.abs(x - y).sum()",
    "cosine": "1 - x.dot(y) / (cupy.linalg.norm(x) * cupy.linalg.norm(y))",
    "dot": "x.dot(y)",
}


def prepare(x: torch.Tensor, y: torch.Tensor, metric: Metric) -> Prepared:
    """The expression of `metric` over the tensors' own memory, on torch's current stream."""
    if x.device.type != "cuda":
        raise Unavailable("cupy needs a GPU")
    try:
        import cupy
    except ImportError as error:
        raise Unavailable("cupy is not installed (pip install cupy-cuda13x)") from error
    if x.dtype == torch.bfloat16:
        raise Unavailable("cupy has no bfloat16")
    space = {"cupy": cupy, "x": cupy.from_dlpack(x), "y": cupy.from_dlpack(y)}
    expression = evaluate(best(EXPRESSIONS, metric, "cupy"), space)

    def call() -> object:
        with cupy.cuda.Stream.from_external(_Current()):
            return expression.call()

    return Prepared(call, expression.expression)


class _Current:
    """Torch's current stream by CUDA's stream protocol, which torch's own class lacks in some versions."""

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, torch.cuda.current_stream().cuda_stream
