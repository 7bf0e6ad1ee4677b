"""Counts and amounts of memory as users write them, checked, and as people read them."""

from __future__ import annotations

import os
import re

from mlsys.errors import UserError

UNITS = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}


def whole(name: str, value: float) -> int:
    """`value` as a count of at least 1. Raises UserError naming the option."""
    if value != value or value in (float("inf"), float("-inf")) or value != int(value):
        raise UserError(f"{name}={value:g} is not a whole number")
    if value < 1:
        raise UserError(f"{name}={value:g} must be at least 1")
    return int(value)


def cores() -> int:
    """The CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limit_threads(threads: int) -> None:
    """Have the libraries of this process that will yet be imported, torch among them, take so many threads each."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)


def check_threads(name: str, threads: int | None) -> None:
    """Raise UserError for a number of threads (None: as many as there are cores) that this machine has no cores for."""
    if threads is not None and not 1 <= threads <= cores():
        least = "at least 1" if threads < 1 else f"at most {cores()}, the CPU cores here"
        raise UserError(f"{name}={threads} must be {least}")


def parse_bytes(name: str, text: str) -> int:
    """Bytes of `256MiB`, `1GB` or `4096`. Raises UserError naming the option."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", str(text))
    if not match or match[2].upper() not in UNITS:
        raise UserError(f"{name}={text} is not an amount of memory such as 256MiB or 1GiB")
    amount = int(float(match[1]) * UNITS[match[2].upper()])
    if amount < 1:
        raise UserError(f"{name}={text} must be more than nothing")
    return amount


def format_bytes(amount: float) -> str:
    """`amount` bytes for a person, in binary units."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.4g} {unit}"
        amount /= 1024
    return f"{amount:.4g} TiB"
