"""`generator=model`: any causal language model, by hub id or folder, decoding greedily in true batches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from mlsys import progress
from mlsys.errors import UserError
from mlsys.rag import hub, models
from mlsys.rag.generator import Asked, Completion, Prompt, Wanted
from mlsys.rag.generator.chat import Chat
from mlsys.rag.generator.engines import implementation
from mlsys.rag.generator.pieces import Pieces
from mlsys.record import Scalar

if TYPE_CHECKING:
    from mlsys.rag.generator.decoding import Engine
    from mlsys.rag.generator.stepping import Stepper

DTYPES = ("float32", "bfloat16", "float16", "int8")


class Decoding(TypedDict):
    """The knobs of every generator that decodes with a language model."""

    dtype: str
    max_new_tokens: int
    fixed_length: bool
    max_prompt_tokens: int
    compile: bool


class ModelGenerator:
    """`model`: a packaged model (`smollm2`), a hub id or a folder.

    `max_new_tokens`: new tokens of an answer at most, or with `fixed_length` exactly (end tokens are ignored
    while generating; the text ends at the first of them all the same). `compile`: static shapes and CUDA
    graphs.
    """

    def __init__(
        self,
        name: str,
        model: str,
        revision: str | None,
        trust_remote_code: bool,
        **decoding: Unpack[Decoding],
    ) -> None:
        if not model:
            raise UserError("generator.model is empty: give a hub id, a folder, or use generator=smollm2")
        if decoding["dtype"] not in DTYPES:
            raise UserError(f"generator.dtype={decoding['dtype']} is none of {', '.join(DTYPES)}")
        self.max_new_tokens, self._max_prompt_tokens = (
            decoding["max_new_tokens"],
            decoding["max_prompt_tokens"],
        )
        for knob, value in (
            ("max_new_tokens", self.max_new_tokens),
            ("max_prompt_tokens", self._max_prompt_tokens),
        ):
            if value < 1:
                raise UserError(f"generator.{knob}={value} must be at least 1")
        self._longest_answer = self.max_new_tokens
        self.name, self.model = name, model
        self.dtype, self.fixed_length = decoding["dtype"], decoding["fixed_length"]
        self.compile = decoding["compile"]
        self.revision, self.trust_remote_code = revision, trust_remote_code
        self._network: Any = None
        self._device = "cpu"
        self._packed, self._warning = False, dict[str, str]()
        self._roofline = dict[str, Scalar]()
        self._engine: Engine
        self.chat: Chat

    def allow(self, max_tokens: int) -> None:
        """Answers of up to so many tokens may be wanted: prompts leave them room."""
        self._longest_answer = max(self.max_new_tokens, max_tokens)

    def load(self, device: str, seed: int) -> None:
        """Fetch and load. Raises UserError if the model cannot be had or is too short for what was asked."""
        import torch

        from mlsys.rag.generator import engines, int8, linear

        if self.dtype == "int8" and device != "cpu":
            raise UserError("generator.dtype=int8 is for device=cpu: choose bfloat16 on a GPU")
        dtype = torch.float32 if self.dtype == "int8" else getattr(torch, self.dtype)
        self._warn(device, dtype)
        self._device = device
        location = self._locate()
        try:
            with models.quiet():
                tokenizer, network = self._open(location, dtype, seed)
        except Exception as error:  # of a damaged file the libraries' parsers raise what they like
            raise hub.failure("generator.model", self.model, location, error) from error
        self._network = network.to(device).eval()
        self._roofline = engines.roofline(self._network, device, self.dtype)
        self._parameters = sum(weights.numel() for weights in self._network.parameters())
        if self.dtype == "int8":
            int8.quantise(self._network)
        self._packed = device == "cpu" and self.dtype != "int8" and linear.pack(self._network)
        self.chat = Chat(tokenizer, network.generation_config)
        self._limit_prompt()
        self._engine = engines.lock_step(
            self._network, self.chat, self.compile, self._max_prompt_tokens, self._longest_answer
        )

    def _warn(self, device: str, dtype: Any) -> None:
        from mlsys.rag.generator import linear

        if device == "cpu" and not linear.multiplies(dtype):
            text = (
                f"generator.dtype={self.dtype}: this processor has no instructions for it: "
                "prompts and batches take longer than in float32"
            )
            self._warning["warning"] = text
            progress.say(text)

    def _locate(self) -> hub.Location:
        return hub.locate("generator.model", self.model)

    def _open(self, location: hub.Location, dtype: Any, seed: int) -> tuple[Any, Any]:
        """Tokenizer and network with its weights: read here where the folder has what is known here."""
        from mlsys.rag import tokens
        from mlsys.rag.generator import weights

        folder = Path(location.path)
        own = weights.read(folder, dtype) if folder.is_dir() else None
        if own is not None:
            return tokens.read(folder) or self._tokenizer(location), own
        return self._by_transformers(location, dtype)

    def _tokenizer(self, location: hub.Location) -> Any:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(location.path, **self._how(location))

    def _how(self, location: hub.Location) -> dict[str, Any]:
        return {
            "revision": self.revision,
            "trust_remote_code": self.trust_remote_code,
            "local_files_only": location.local_only,
        }

    def _by_transformers(self, location: hub.Location, dtype: Any) -> tuple[Any, Any]:
        from transformers import AutoConfig, AutoModelForCausalLM

        from mlsys.rag.generator import attention

        attention.register()
        path, how = location.path, self._how(location)
        config = AutoConfig.from_pretrained(path, **how)
        network = AutoModelForCausalLM.from_pretrained(
            path, config=config, dtype=dtype, attn_implementation=implementation(config), **how
        )
        return self._tokenizer(location), network

    def _limit_prompt(self) -> None:
        longest = getattr(self._network.config, "max_position_embeddings", None)
        if longest is None:
            return
        if self._longest_answer >= longest:
            knob = (
                "generator.max_new_tokens"
                if self._longest_answer == self.max_new_tokens
                else "server.max_tokens"
            )
            raise UserError(f"{knob}={self._longest_answer}: {self.model} has {longest} positions in all")
        self._max_prompt_tokens = min(self._max_prompt_tokens, longest - self._longest_answer)

    @property
    def max_prompt_tokens(self) -> int:
        """How many tokens a prompt may have: what was asked, and what the model has room for."""
        return self._max_prompt_tokens

    def warm(self, max_batch: int) -> None:
        """Compute what all prompts share; with `compile`, capture every shape up to `max_batch`."""
        self._engine.warm(max_batch)

    def prompts(self, contents: Sequence[Asked]) -> list[Prompt]:
        """Prompts in the model's own form, tokenised in one call."""
        return self.chat.prompts(contents)

    def generate(self, prompts: list[Prompt], wanted: Sequence[Wanted] = ()) -> list[Completion]:
        """Answers of the whole batch, in as many steps as the longest has tokens."""
        wanted = wanted or [Wanted()] * len(prompts)
        sampled = any(one.sampling.temperature > 0 for one in wanted)
        rows = self._engine.generate(
            [prompt.ids for prompt in prompts],
            [self.max_new_tokens if one.max_tokens is None else one.max_tokens for one in wanted],
            [self.fixed_length if one.exact is None else one.exact for one in wanted],
            [one.sampling for one in wanted] if sampled else (),
        )
        return [Completion(text, len(row), row) for text, row in zip(self.texts(rows), rows, strict=True)]

    def texts(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """What each answer's tokens spell, up to its end token."""
        from mlsys.rag.generator.lengths import cut

        return self.chat.texts([cut(list(row), self.chat.ends) for row in rows])

    def text(self, ids: Sequence[int]) -> str:
        """What one answer's tokens spell, up to its end token."""
        return self.texts([ids])[0]

    def pieces(self) -> Pieces:
        """One answer's text, token by token."""
        return self.chat.pieces()

    @property
    def ends(self) -> frozenset[int]:
        """Ids of the model's end tokens."""
        return self.chat.ends

    def stepper(self, slots: int | None, kv_memory: int | None, prefix_share: float, longest: int) -> Stepper:
        """The engine at token level, for the families that the slot decoder knows."""
        from mlsys.rag.generator import engines

        return engines.stepper(self._network, self.compile, (slots, kv_memory, prefix_share, longest))

    def describe(self) -> dict[str, Scalar]:
        """Model, type and how it decodes."""
        return {
            "model": self.model,
            "family": self._network.config.model_type,
            "parameters": self._parameters,
            "dtype": self.dtype,
            "decoder": self._engine.name,
            "decode_kernels": self._engine.decode_kernels,
            "compile": self.compile,
            "packed_weights": self._packed,
            "max_new_tokens": self.max_new_tokens,
            "fixed_length": self.fixed_length,
            "max_prompt_tokens": self.max_prompt_tokens,
            "shared_prefix_tokens": self._engine.shared_tokens,
            **self._roofline,
            **self._warning,
        }
