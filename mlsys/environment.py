"""The machine and the software as found: without them a number is not a result."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from mlsys.quantities import cores

VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"
PACKAGES = (
    *(
        "torch",
        "triton",
        "numpy",
        "scipy",
        "hydra-core",
        "omegaconf",
        "transformers",
        "sentence-transformers",
    ),
    *(
        "fastapi",
        "uvicorn",
        "aiohttp",
        "wandb",
        "pandas",
        "faiss-cpu",
        "numba",
        "numkong",
        "usearch",
        "flashlib",
        "jax",
        "cuvs-cu13",
        "faiss-gpu",
        "faiss-gpu-cuvs",
        "scikit-learn",
    ),
    *("cupy-cuda13x", "cupy-cuda12x"),
)
BUSY_CORES = 0.5
WATCH_S = 0.3


def describe() -> dict[str, Any]:
    """Hardware, driver, versions, git and how busy the machine is before the run (takes about `WATCH_S`)."""
    gpus = _gpus()
    busy_cores = psutil.cpu_percent(interval=WATCH_S) / 100 * (os.cpu_count() or 1)
    busy_gpu = any((gpu["utilization_percent"] or 0) > 10 for gpu in gpus)
    return {
        "hostname": platform.node(),
        "platform": platform.platform(),
        "hardware": {
            "cpu": _cpu_model(),
            "cores": cores(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
            "last_level_cache_bytes": last_level_cache_bytes(),
            "gpu": gpus[0]["name"] if gpus else None,
            "gpus": [
                {key: gpu[key] for key in ("name", "uuid", "memory_gib", "power_limit_w")} for gpu in gpus
            ],
        },
        "driver": _driver(),
        "before": moment(),
        "after": None,
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "busy_cores": round(busy_cores, 2),
        "busy": busy_cores > BUSY_CORES or busy_gpu,
        "versions": {"python": platform.python_version(), **_versions()},
        "git": git(Path(__file__).resolve().parent),
        "thread_variables": {name: os.environ[name] for name in os.environ if name.endswith("_NUM_THREADS")},
    }


def moment() -> dict[str, Any]:
    """What changes while a run goes on: clocks in MHz, temperatures in °C, power in W, memory in use."""
    frequency = psutil.cpu_freq()
    return {
        "cpu_mhz": round(frequency.current) if frequency else None,
        "memory_available_gib": round(psutil.virtual_memory().available / 2**30, 1),
        "gpus": [
            {
                key: gpu[key]
                for key in (
                    *("sm_mhz", "memory_mhz", "temperature_c", "power_w", "utilization_percent"),
                    "memory_used_gib",
                )
            }
            for gpu in _gpus()
        ],
    }


def last_level_cache_bytes() -> int:
    """Size of the CPU's largest cache; 32 MiB where the system does not say."""
    sizes = [0]
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = path.read_text().strip()
        if text.endswith("K") and text[:-1].isdigit():
            sizes.append(int(text[:-1]) * 1024)
    return max(sizes) or 32 * 2**20


def git(directory: Path) -> dict[str, Any]:
    """Commit and dirty flag of the checkout around `directory`; nulls outside one."""

    def ask(*words: str) -> str | None:
        try:
            answer = subprocess.run(
                ["git", "-C", str(directory), *words], capture_output=True, text=True, timeout=10, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return answer.stdout.strip() if answer.returncode == 0 else None

    commit = ask("rev-parse", "HEAD")
    status = ask("status", "--porcelain", "--untracked-files=no") if commit else None
    return {"commit": commit, "dirty": None if status is None else bool(status)}


def _cpu_model() -> str:
    path = Path("/proc/cpuinfo")
    for line in path.read_text().splitlines() if path.is_file() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _driver() -> str | None:
    nvml = _nvml()
    return None if nvml is None else str(nvml.nvmlSystemGetDriverVersion())


def _gpus() -> list[dict[str, Any]]:
    nvml = _nvml()
    if nvml is None:
        return []
    return [_gpu(nvml, nvml.nvmlDeviceGetHandleByIndex(index)) for index in range(nvml.nvmlDeviceGetCount())]


def visible_gpus() -> list[str]:
    """What VISIBLE_GPUS may name here, one by one: its own entries where it is set, else all GPUs' numbers."""
    chosen = os.environ.get(VISIBLE_GPUS)
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip()]
    nvml = _nvml()
    return [] if nvml is None else [str(index) for index in range(nvml.nvmlDeviceGetCount())]


def _gpu(nvml: Any, handle: Any) -> dict[str, Any]:
    def ask(question: str, *arguments: Any) -> Any:
        try:
            return getattr(nvml, question)(handle, *arguments)
        except nvml.NVMLError:
            return None  # not every card answers every question

    limit, power = ask("nvmlDeviceGetPowerManagementLimit"), ask("nvmlDeviceGetPowerUsage")
    use, memory = ask("nvmlDeviceGetUtilizationRates"), ask("nvmlDeviceGetMemoryInfo")
    return {
        "name": str(ask("nvmlDeviceGetName")),
        "uuid": str(ask("nvmlDeviceGetUUID")),
        "memory_gib": round(memory.total / 2**30, 1) if memory else None,
        "memory_used_gib": round(memory.used / 2**30, 2) if memory else None,
        "power_limit_w": limit / 1000 if limit else None,
        "power_w": power / 1000 if power else None,
        "sm_mhz": ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM),
        "memory_mhz": ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_MEM),
        "temperature_c": ask("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU),
        "utilization_percent": use.gpu if use else None,
    }


@cache
def _nvml() -> Any | None:
    """NVIDIA's management library, started; None where there is no NVIDIA driver."""
    if sys.platform == "darwin":
        return None
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml
