"""Which form is about a configuration: the one place that knows both the options' names and the theory's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mlsys.theory import replay
from mlsys.theory.batch_service import Batches
from mlsys.theory.choices import Choices
from mlsys.theory.closed_loop import ClosedLoop
from mlsys.theory.cost import Cost
from mlsys.theory.deterministic import Deterministic
from mlsys.theory.exponential import Exponential
from mlsys.theory.law import Floats
from mlsys.theory.refusing import Refusing
from mlsys.theory.replay import Came

Replay = Callable[[Came, Cost], Floats]
FULL = 1e-4  # of batches: where more would be larger than they may be, the form is of another service


class NoForm(ValueError):
    """No form is known for what is asked, with the reason."""


class Mean(Protocol):
    """What every form gives."""

    @property
    def mean_ms(self) -> float: ...  # noqa: D102


@dataclass(frozen=True)
class Model:
    """A form's `name` and how it is evaluated.

    `law(cost)` may raise Unstable. `replay(came, cost)`: the same on given arrivals, in ms of latency; None where it
    cannot be told. `percentiles`: the law gives them. `random`: services are drawn.
    `idle_ms`: what one waits by the model that finds nobody inside.
    `together`: so many clients go in one batch, which begins when the last of them has asked; 0: it is not known.
    `apart`: a request's way to the service and back adds to its latency; else others are served meanwhile.
    """

    name: str
    law: Callable[[Cost], Mean]
    replay: Replay | None = None
    percentiles: bool = False
    random: bool = False
    apart: bool = True
    idle_ms: float = 0.0
    together: int = 0


def engine(generator: Mapping[str, Any]) -> Cost:
    """What the simulated engine takes for a batch, but for what depends on the prompts' lengths."""
    tokens = generator["max_new_tokens"]
    base = generator["base_ms"] + generator["per_token_ms"] * tokens
    return Cost(generator["per_request_ms"] + generator.get("per_sequence_ms", 0.0) * tokens, base)


def choose(config: Mapping[str, Any], level: Mapping[str, Any]) -> Model:
    """The form for a configuration at a load level (with its `concurrency` or `offered_rate_rps`). Raises NoForm."""
    server, load, generator = config["server"]["name"], config["loadtest"], config["generator"]
    if generator["name"] != "simulated":
        raise NoForm(f"generator={generator['name']} has no cost that is known beforehand")
    if generator.get("per_prompt_token_ms") or generator.get("per_context_token_ms"):
        raise NoForm(
            "generator.per_prompt_token_ms, per_context_token_ms: the forms are of prompts that cost alike"
        )
    if load.get("output_tokens") is not None:
        raise NoForm("loadtest.output_tokens: the forms are of answers of one length")
    if load.get("turns", 1) > 1:
        raise NoForm("loadtest.turns: the forms are of requests that do not depend on each other's answers")
    if server not in FORMS:
        raise NoForm(f"server={server} has no form")
    if load["name"] == "closed":
        return _closed(config, int(level["concurrency"]))
    if load["name"] not in ("poisson", "slo_search"):
        raise NoForm(
            f"loadtest={load['name']}: the forms are of independent users (poisson) or a closed loop"
        )
    return FORMS[server](config, float(level["offered_rate_rps"]))


def _random(config: Mapping[str, Any]) -> bool:
    return bool(config["generator"].get("distribution") == "exponential")


def _closed(config: Mapping[str, Any], clients: int) -> Model:
    if _random(config):
        raise NoForm("generator.distribution=exponential: the closed loop's form is of a fixed cost")
    mode = config["server"]["name"]
    if mode == "lb" or config["server"].get("workers", 1) > 1:
        raise NoForm("several workers in a closed loop have no form here")
    most = 1 if mode != "batch" else int(config["batching"]["max_size"])
    if mode == "batch" and clients > 1 and not config["batching"].get("linger_ms"):
        raise NoForm(
            "batching.linger_ms=0: in a closed loop the worker does not wait for those it has answered"
        )
    if mode == "batch" and config["batching"]["name"] != "hybrid":
        raise NoForm(f"batching={config['batching']['name']} has no form in a closed loop")
    apart = clients <= most
    together = clients if apart else 0
    return Model("closed loop", lambda cost: ClosedLoop(clients, cost, most), apart=apart, together=together)


def _line(config: Mapping[str, Any], rate: float) -> Model:
    workers, random = int(config["server"].get("workers", 1)), _random(config)
    ordered = (
        config["server"]["name"] == "queue"
    )  # baseline promises no order: the mean does not depend on it
    kind = Exponential if random else Deterministic

    def law(cost: Cost) -> Mean:
        return kind(rate, cost(1), workers)

    def again(came: Came, cost: Cost) -> Floats:
        return replay.line(came.at_ms, cost(1) * came.stretch, workers)

    return Model(f"M/{'M' if random else 'D'}/{workers}", law, again, ordered, random)


def _batch(config: Mapping[str, Any], rate: float) -> Model:
    batching = config["batching"]
    if _random(config):
        raise NoForm("generator.distribution=exponential: the batches' form is of a fixed cost")
    if batching["name"] == "slo":
        return _door(batching, rate)
    if batching["name"] not in ("hybrid", "time") or batching.get("max_padded_tokens") is not None:
        raise NoForm(f"batching={batching['name']} has no form with these bounds")
    if batching.get("linger_ms"):
        raise NoForm("batching.linger_ms: in an open loop nobody comes back, set it to 0 for the form")
    most, window, at_once = (
        int(batching["max_size"]),
        float(batching["timeout_ms"]),
        batching["name"] == "hybrid",
    )

    def law(cost: Cost) -> Mean:
        found = Batches(rate, cost, window, at_once)
        if found.batch_tail(most) > FULL:
            raise NoForm(f"batching.max_size={most} is smaller than some of the batches that come together")
        return found

    def again(came: Came, cost: Cost) -> Floats:
        return replay.batches(came.at_ms, cost, most, window, at_once, came.stretch)[0]

    name = "batch service" if not window else "batch service with a window"
    return Model(name, law, again, True, idle_ms=0.0 if at_once else window)


def _door(batching: Mapping[str, Any], rate: float) -> Model:
    """One by one behind a door that was told what a request costs, and counts those before one in that.

    What a service really takes is longer by what the server adds, and so is the wait that the door lets in.
    """
    if batching["max_size"] != 1 or batching["base_ms"] is None:
        raise NoForm("batching=slo has a form for max_size=1 with base_ms and per_request_ms given")
    planned_ms = float(batching["limit_ms"] - batching["margin_ms"])
    door = float(batching["base_ms"] + batching["per_request_ms"])

    def law(cost: Cost) -> Mean:
        return Refusing(rate, cost(1), planned_ms * cost(1) / door)

    def again(came: Came, cost: Cost) -> Floats:
        return replay.behind_a_door(came.at_ms, cost(1) * came.stretch, door, planned_ms)[0]

    return Model("M/D/1 with a door", law, again, percentiles=True)


def _balanced(config: Mapping[str, Any], rate: float) -> Model:
    server, policy = config["server"], config["balancer"]["name"]
    replicas = int(server["replicas"])
    if server["replica"] == "batch" or not _random(config) or server.get("backends"):
        raise NoForm(
            "server=lb: the form is of replicas that go one by one, with generator.distribution=exponential"
        )
    if policy not in ("power_of_two", "least_in_flight"):
        raise NoForm(f"balancer={policy} has no form")
    drawn = min(2, replicas) if policy == "power_of_two" else replicas
    name = f"shortest of {drawn} among {replicas}"

    def again(came: Came, cost: Cost) -> Floats:
        return replay.shortest(came.at_ms, cost(1) * came.stretch, replicas, came.replica.tolist())

    # Which replicas were drawn is not on record: only where all are can the choice be replayed.
    seen = again if drawn == replicas else None
    return Model(name, lambda cost: Choices(rate, cost(1), replicas, drawn), seen, random=True)


FORMS: Mapping[str, Callable[[Mapping[str, Any], float], Model]] = {
    "baseline": _line,
    "queue": _line,
    "batch": _batch,
    "lb": _balanced,
}
