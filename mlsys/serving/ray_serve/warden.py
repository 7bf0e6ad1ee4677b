"""Outlives a service on Ray for a moment, and cleans up behind it: `warden.py kill NAME=VALUE DIRECTORY`, or a command.

Standard library alone: it is started with `python -I -S`, beside the service, and costs nothing until its input ends.
It kills by a mark and so must never kill too much: the mark and the folder are random names made for one session, which
it insists on, and what was there before the warden itself is never touched.
"""

import os
import re
import shutil
import signal
import sys
import time

ROUNDS, PAUSE_S = 40, 0.05
WORD = re.compile(rb"MLSYS_RAY_SESSION=[0-9a-f]{32}")
DIRECTORY = re.compile(r"/(?:[^/\0]+/)*mlsys-ray-[^/\0]{6,}")


def ours(word: bytes, directory: str, since: int, spared: tuple[int, ...]) -> list[int]:
    """Processes begun at `since` (`began`) or later whose environment has `word`, or with a file of `directory` open.

    Ray's agents write their titles over their environment, and log into the directory. Raises ValueError for a word
    or a directory that is not a session's own.
    """
    if not WORD.fullmatch(word) or not DIRECTORY.fullmatch(directory):
        raise ValueError(
            f"{word!r} and {directory!r} are not a session's mark and folder: nothing is killed by them"
        )
    numbers = [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) not in spared]
    return [n for n in numbers if began(n) >= since and _is_ours(n, word, f"{directory}/")]


def began(number: int) -> int:
    """When the process began, in the kernel's ticks since boot; -1 where it has ended."""
    try:
        with open(f"/proc/{number}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return -1
    return -1 if fields[0] == b"Z" else int(fields[19])


def _is_ours(number: int, word: bytes, place: str) -> bool:
    try:
        with open(f"/proc/{number}/environ", "rb") as file:
            if word in file.read().split(b"\0"):
                return True
        files = f"/proc/{number}/fd"
        return any(os.readlink(f"{files}/{name}").startswith(place) for name in os.listdir(files))
    except OSError:  # it has ended, or is somebody else's
        return False


def kill(word: bytes, directory: str, spared: tuple[int, ...]) -> None:
    """Until none is left: they may start others while they are being killed."""
    since = began(os.getpid())
    for _ in range(ROUNDS):
        there = ours(word, directory, since, spared)
        if not there:
            break
        for number in there:
            try:
                os.kill(number, signal.SIGKILL)
            except OSError:
                continue
        time.sleep(PAUSE_S)
    shutil.rmtree(directory, ignore_errors=True)


def main(arguments: list[str]) -> None:
    """Wait for the end of the input, then act."""
    spared = (os.getpid(), os.getppid())  # the service waits for this one, where it has not been killed
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.read(0, 4096):
        pass
    if arguments[0] == "kill":
        kill(arguments[1].encode(), arguments[2], spared)
    else:
        os.execv(arguments[0], arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
