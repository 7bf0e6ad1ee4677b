"""The prompt: one fixed instruction first (its computation can be shared), passages, then the question."""

from __future__ import annotations

from mlsys.errors import UserError
from mlsys.rag.generator import Asked, Generator, Prompt
from mlsys.rag.item import Hit, Item
from mlsys.rag.options import Order

INSTRUCTION = "Answer the question in one or two sentences, using only the passages."
SHRINK = 0.9


def content(query: str, passages: list[Hit], share: float = 1.0) -> str:
    """Passages and question as the user's part of the prompt; `share` of each passage's words is kept."""
    kept = [_first_words(hit.text, share) for hit in passages]
    listed = "\n".join(f"[{number}] {text}" for number, text in enumerate(kept, 1))
    return f"{listed}\n\nQuestion: {query}" if kept else f"Question: {query}"


def _first_words(text: str, share: float) -> str:
    if share >= 1:
        return text
    words = text.split()
    return " ".join(words[: int(len(words) * share)])


def asked(item: Item, passages: list[Hit], share: float = 1.0) -> Asked:
    """What the generator is asked to write on: passages and question, a conversation, or a text to be continued.

    A question with a conversation before it keeps the instruction first, so that prompts still share it.
    """
    if item.continues is not None:
        return item.continues
    if not item.retrieves:
        return list(item.messages)
    question = content(item.query, passages, share)
    if not item.messages:
        return INSTRUCTION, question
    told = [message["content"] for message in item.messages if message["role"] == "system"]
    said = [message for message in item.messages if message["role"] != "system"]
    system = {"role": "system", "content": "\n\n".join([INSTRUCTION, *told])}
    return [system, *said, {"role": "user", "content": question}]


class PromptStage:
    """Builds and tokenises the batch's prompts; passages are shortened where a prompt would be too long."""

    name = "prompt"

    def __init__(self, generator: Generator, order: Order = Order.score) -> None:
        self._generator, self._order = generator, order

    def __call__(self, items: list[Item]) -> None:
        """Set `prompt` and what is known of it. Raises UserError for a question too long by itself."""
        ordered = [self._ordered(item) for item in items]
        built = self._generator.prompts([asked(*each) for each in zip(items, ordered, strict=True)])
        for item, passages, prompt in zip(items, ordered, built, strict=True):
            fitting = self._fit(item, prompt)
            item.prompt, item.prompt_ids, item.prompt_tokens = fitting.text, fitting.ids, fitting.tokens
            item.prompt_messages = fitting.messages
            item.prompt_passages = [hit.id for hit in passages]

    def _ordered(self, item: Item) -> list[Hit]:
        if self._order is Order.canonical:
            return sorted(item.passages, key=lambda hit: hit.id)
        return item.passages

    def _fit(self, item: Item, prompt: Prompt) -> Prompt:
        limit, share = self._generator.max_prompt_tokens, 1.0
        while prompt.tokens > limit:
            if not item.retrieves:
                raise UserError(f"a prompt of {prompt.tokens} tokens: at most {limit} fit")
            if share == 0:
                raise UserError(f"query of {prompt.tokens} tokens with its prompt: at most {limit} fit")
            share = share * SHRINK * min(1.0, limit / prompt.tokens)
            share = 0.0 if share < 0.01 else share
            passages = self._ordered(item) if share else []
            prompt = self._generator.prompts([asked(item, passages, share)])[0]
        return prompt
