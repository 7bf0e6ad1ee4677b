"""Outlives a service on Ray for a moment, and cleans up behind it: `warden.py kill NAME=VALUE DIRECTORY`, or a command.

Standard library alone: it is started with `python -I -S`, beside the service, and costs nothing until its input ends.
"""

import os
import shutil
import signal
import sys
import time

ROUNDS, PAUSE_S = 40, 0.05
SERVICE = os.getppid()  # which waits for this one, where it has not been killed


def ours(word: bytes, directory: str) -> list[int]:
    """Processes whose environment has `word` (NAME=value), or that have a file of `directory` open.

    Ray's agents write their titles over their environment, and log into the directory.
    """
    spared = (os.getpid(), SERVICE)
    numbers = [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) not in spared]
    return [number for number in numbers if _alive(number) and _is_ours(number, word, directory)]


def _alive(number: int) -> bool:
    try:
        with open(f"/proc/{number}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


def _is_ours(number: int, word: bytes, directory: str) -> bool:
    try:
        with open(f"/proc/{number}/environ", "rb") as file:
            if word in file.read().split(b"\0"):
                return True
        place = f"/proc/{number}/fd"
        return any(os.readlink(f"{place}/{name}").startswith(directory) for name in os.listdir(place))
    except OSError:  # it has ended, or is somebody else's
        return False


def kill(word: bytes, directory: str) -> None:
    """Until none is left: they may start others while they are being killed."""
    for _ in range(ROUNDS):
        there = ours(word, directory)
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
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.read(0, 4096):
        pass
    if arguments[0] == "kill":
        kill(arguments[1].encode(), arguments[2])
    else:
        os.execv(arguments[0], arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
