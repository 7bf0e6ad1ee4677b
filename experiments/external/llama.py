"""llama.cpp's own server, from the wheel `xllamacpp`, on a GGUF file: `python llama.py MODEL.gguf PORT`.

Its `/metrics` are on, it has as many slots as clients are measured, and one thread, as this project's services have.
"""

import signal
import sys

import xllamacpp

SLOTS, SLOT_TOKENS = 8, 2048


def main(model: str, port: int) -> None:
    """Serve until it is told to stop."""
    options = xllamacpp.CommonParams()
    options.model.path = model
    options.hostnames, options.port = ["127.0.0.1"], port
    options.n_parallel, options.n_ctx = SLOTS, SLOTS * SLOT_TOKENS
    options.cpuparams.n_threads = options.cpuparams_batch.n_threads = 1
    options.endpoint_metrics = True
    server = xllamacpp.Server(options)
    print(f"serving on {server.listening_address}", flush=True)
    signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
