"""A service and its load in virtual time: the classes of real time on a clock that jumps from event to event.

Nothing here knows how requests are queued, batched or sent. It replaces what costs real time, and only that: the
event loop's clock, the worker's thread, the engine's sleep, the sockets.
"""
