#!/usr/bin/env python3
"""llama.cpp's server out of the wheel `xllamacpp`, for machines without a `llama-server`.

It has those of its options that `generator=llama_cpp` uses: `generator.binary=experiments/engines/llama_server.py`.
"""

from __future__ import annotations

import argparse
import signal

import xllamacpp


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("-m", dest="model", required=True)
    parser.add_argument("--alias", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    for name, default in (("--port", 8080), ("-t", 1), ("-tb", 1), ("-np", 1), ("-c", 4096), ("-ngl", 0)):
        parser.add_argument(name, type=int, default=default)
    return parser.parse_args()


def main() -> None:
    """Serve until it is told to stop."""
    asked = options()
    made = xllamacpp.CommonParams()
    made.model.path, made.model_alias = asked.model, {asked.alias}
    made.hostnames, made.port = [asked.host], asked.port
    made.cpuparams.n_threads, made.cpuparams_batch.n_threads = asked.t, asked.tb
    made.n_parallel, made.n_ctx, made.n_gpu_layers = asked.np, asked.c, asked.ngl
    server = xllamacpp.Server(made)
    print(f"listening on {server.listening_address}, xllamacpp {xllamacpp.__version__}", flush=True)
    signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main()
