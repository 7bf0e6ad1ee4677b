"""Which engine drives a model: the slot decoder where its family is known, with `compile` in fixed shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlsys.errors import UserError
from mlsys.record import Scalar

if TYPE_CHECKING:
    from mlsys.rag.generator.chat import Chat
    from mlsys.rag.generator.decoding import Engine
    from mlsys.rag.generator.stepping import Stepper

# Families whose attention is plain causal attention with explicit positions: the slot decoder may drive them.
SLOT_FAMILIES = frozenset({"llama", "opt", "qwen2", "qwen3", "mistral"})


def implementation(config: Any) -> str | None:
    """The slot attention where the model is known to go with it, else what transformers chooses."""
    from mlsys.rag.generator.attention import IMPLEMENTATION

    windowed = getattr(config, "use_sliding_window", False) or (
        config.model_type == "mistral" and getattr(config, "sliding_window", None)
    )
    return IMPLEMENTATION if config.model_type in SLOT_FAMILIES and not windowed else None


def lock_step(network: Any, chat: Chat, compiled: bool, max_prompt: int, longest: int) -> Engine:
    """The engine that answers whole batches; prompts of up to `max_prompt` and answers of up to `longest` tokens."""
    if not _known(network):
        if compiled:
            raise UserError(f"generator.compile=true does not know {_families(network)}")
        from mlsys.rag.generator.plain import PlainDecoder

        return PlainDecoder(network, chat.ends, chat.pad)
    if compiled:
        from mlsys.rag.generator.graphs import GraphDecoder

        return GraphDecoder(network, chat.ends, max_prompt, longest)
    from mlsys.rag.generator.decoding import Decoder

    return Decoder(network, chat.ends, chat.prefix())


def stepper(network: Any, compiled: bool, wanted: tuple[int | None, int | None, float, int]) -> Stepper:
    """The engine at token level; `wanted`: as `Generator.stepper` takes it."""
    from mlsys.rag.generator.kv_cache import free_bytes, heads
    from mlsys.rag.generator.kv_memory import divide
    from mlsys.rag.generator.slot_stepper import SlotStepper
    from mlsys.rag.generator.static_stepper import StaticStepper

    if not _known(network):
        raise UserError(f"server=continuous does not know {_families(network)}: use server=batch")
    slots, kv_memory, prefix_share, longest = wanted
    kept = heads(network)
    sizes = divide(kv_memory, free_bytes(network.device), kept.token_bytes, slots, prefix_share, longest)
    return (StaticStepper if compiled else SlotStepper)(network, sizes, kept)


def roofline(network: Any, device: str, dtype: str) -> dict[str, Scalar]:
    """What a step moves and computes, and what the device can; nothing of families that are not known here."""
    from mlsys.roofline import peaks, work

    if network.config.model_type not in SLOT_FAMILIES:
        return {}
    return {**work.of(network, dtype).describe(), **peaks.of(device, dtype).describe()}


def _known(network: Any) -> bool:
    from mlsys.rag.generator.attention import IMPLEMENTATION

    return bool(network.config._attn_implementation == IMPLEMENTATION)


def _families(network: Any) -> str:
    return f"{network.config.model_type} models ({', '.join(sorted(SLOT_FAMILIES))})"
