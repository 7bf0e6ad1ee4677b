"""A host that goes without a word, its power or its cable cut, is noticed: TCP asks for an answer again and again.

gloo opens its connections without asking for that, so a rank would wait as long as any rank may take for its work.
The kernel then ends the connection, and the collective that waits on it fails.
"""

from __future__ import annotations

import contextlib
import os
import socket

import psutil

IDLE_S, BETWEEN_S, UNANSWERED = 10, 5, 3  # first question, further ones, and how many in vain


def watch_connections() -> None:
    """Ask on every TCP connection that this process has by now. Where the system has no such options: nothing."""
    options = {
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE): 1,
        (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPIDLE", None)): IDLE_S,
        (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPINTVL", None)): BETWEEN_S,
        (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPCNT", None)): UNANSWERED,
        # the same for what was sent and never acknowledged
        (socket.IPPROTO_TCP, getattr(socket, "TCP_USER_TIMEOUT", None)): round(1e3 * lost_after_s()),
    }
    for connection in psutil.Process().net_connections("tcp"):
        if connection.fd < 0 or not connection.raddr:
            continue
        with contextlib.suppress(OSError):  # closed meanwhile
            opened = socket.socket(fileno=os.dup(connection.fd))
            with opened:
                for (level, option), value in options.items():
                    if option is not None:
                        opened.setsockopt(level, option, value)


def lost_after_s() -> float:
    """How long a host may be silent, in seconds, before it counts as lost."""
    return IDLE_S + BETWEEN_S * UNANSWERED
