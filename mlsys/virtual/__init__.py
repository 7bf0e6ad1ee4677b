"""A service and its load in virtual time: the classes of real time on a clock that jumps from event to event.

Nothing here knows how requests are queued, batched or sent. It replaces what costs real time, and only that: the
event loop's clock, the worker's thread, the engine's work, the sockets, the replicas' processes.

`python run.py clock=virtual …` runs `mlsys.virtual.benchmark`. A program asks

    from mlsys.virtual.simulate import simulate, fitted
    levels = simulate(config)            # a list of `mlsys.record.Level`, as a real run's: `level.values["e2e_ms.p95"]`
    config = fitted(config, record_dir)  # the same configuration with the costs that a real run's record shows

`config` is a resolved configuration, as `record.config` holds it, with `generator=simulated` (its knobs are what the
engine costs) and the section `cost` (what the service takes around the engine). `simulate(config, asked)` takes the
questions as well, for who simulates many times. Nothing is written, and one seed gives one result.
"""
