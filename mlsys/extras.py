"""Which extra of this package brings a module that is not installed: not everyone needs all of them."""

from __future__ import annotations

import re
from collections import Counter
from importlib import metadata, util

DISTRIBUTIONS = {
    "bs4": "beautifulsoup4",
    "cuvs": "cuvs-cu13",
    "faiss": "faiss-cpu",
    "jsonpath": "python-jsonpath",
    "mlflow": "mlflow-skinny",
    "openvino_genai": "openvino-genai",
    "qdrant_edge": "qdrant-edge-py",
    "yaml": "pyyaml",
}
SPLIT = re.compile(r"^([\w.-]+).*; *(?:.* and )?extra *== *['\"]([\w-]+)['\"]")
GATHERED = {"all", "test"}


def missing(module: str) -> str | None:
    """One line that says how to install `module`, by the smallest extra with it; None where it belongs to no extra."""
    top = module.split(".")[0]
    wanted = _plain(DISTRIBUTIONS.get(top, top))
    try:
        requirements = metadata.requires("mlsys") or []
    except metadata.PackageNotFoundError:  # run from its sources, not installed
        return None
    found = [match.groups() for each in requirements if (match := SPLIT.match(each))]
    sizes = Counter(extra for _, extra in found)
    extras = {extra for name, extra in found if _plain(name) == wanted and extra not in GATHERED}
    if not extras:
        return None
    return (
        f"{top} is not installed: pip install 'mlsys[{min(extras, key=lambda extra: (sizes[extra], extra))}]'"
    )


def absent(module: str) -> str | None:
    """The line of `missing` where `module` is not installed; None where it is."""
    if util.find_spec(module) is not None:
        return None
    return missing(module) or f"{module} is not installed"


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
