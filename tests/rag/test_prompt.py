"""What the generator is asked to write on: a question with passages, a conversation, a text to be continued."""

from __future__ import annotations

import pytest
import torch
from sections import made

from mlsys.errors import UserError
from mlsys.rag.generator import Message
from mlsys.rag.generator.chat import Chat, without_system
from mlsys.rag.generator.random import Random
from mlsys.rag.generator.simulated import Simulated
from mlsys.rag.generator.vocabulary import build
from mlsys.rag.item import Hit, Item
from mlsys.rag.options import Order
from mlsys.rag.prompt import INSTRUCTION, PromptStage, asked

CAT = Hit(0, "Cats sleep.", "animals", 1.0)
BEFORE: list[Message] = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": "Hello?"},
    {"role": "assistant", "content": "Yes."},
]


def test_a_question_is_asked_with_its_passages() -> None:
    assert asked(Item("Do cats sleep?"), [CAT]) == (
        INSTRUCTION,
        "[1] Cats sleep.\n\nQuestion: Do cats sleep?",
    )


def test_a_conversation_keeps_the_instruction_first_and_ends_with_the_question() -> None:
    assert asked(Item("Do cats sleep?", messages=BEFORE), [CAT]) == [
        {"role": "system", "content": f"{INSTRUCTION}\n\nBe short."},
        *BEFORE[1:],
        {"role": "user", "content": "[1] Cats sleep.\n\nQuestion: Do cats sleep?"},
    ]


def test_in_canonical_order_prompts_with_the_same_passages_begin_alike() -> None:
    simulated: Simulated = made("generator/simulated")
    dog = Hit(7, "Dogs bark.", "animals", 0.5)
    items = [Item("Who sleeps?", passages=[CAT, dog]), Item("Who barks?", passages=[dog, CAT])]
    PromptStage(simulated, Order.canonical)(items)
    first, second = (item.prompt.partition("Question:")[0] for item in items)
    assert first == second
    assert items[1].passages == [dog, CAT], "clients still get them by score"
    assert [item.prompt_passages for item in items] == [sorted([CAT.id, dog.id])] * 2, (
        "a balancer is told of these"
    )
    PromptStage(simulated)(items)
    assert "[1] Dogs bark." in items[1].prompt
    assert items[1].prompt_passages == [dog.id, CAT.id]


def test_without_retrieval_what_was_said_is_asked_as_it_is() -> None:
    assert asked(Item("", retrieves=False, messages=BEFORE), []) == BEFORE
    assert asked(Item("", retrieves=False, continues="Once upon"), []) == "Once upon"


def test_a_plain_text_too_long_is_not_shortened() -> None:
    simulated: Simulated = made("generator/simulated", max_prompt_tokens=3)
    with pytest.raises(UserError, match="a prompt of 4 tokens: at most 3 fit"):
        PromptStage(simulated)([Item("", retrieves=False, continues="one two three four")])


def test_the_three_forms_share_a_batch_of_the_models_own_prompts() -> None:
    chat = Chat(build(1024), None)
    pair, conversation, plain = chat.prompts([("Say.", "What?"), BEFORE, "Once upon"])
    assert pair.text == chat.text("Say.", "What?")
    assert conversation.text == (
        "<|im_start|>system\nBe short.<|im_end|>\n<|im_start|>user\nHello?<|im_end|>\n"
        "<|im_start|>assistant\nYes.<|im_end|>\n<|im_start|>assistant\n"
    )
    assert plain.text == "Once upon"
    assert [chat.prompts([one])[0] for one in (("Say.", "What?"), BEFORE, "Once upon")] == [
        pair,
        conversation,
        plain,
    ]


def test_models_without_a_template_or_a_system_role_read_conversations_too() -> None:
    tokenizer = build(1024)
    tokenizer.chat_template = None
    assert Chat(tokenizer, None).conversation(BEFORE) == (
        "system: Be short.\n\nuser: Hello?\n\nassistant: Yes.\n\nassistant:"
    )
    assert without_system(BEFORE) == [{"role": "user", "content": "Be short.\n\nHello?"}, BEFORE[2]]


def test_answers_to_conversations_do_not_depend_on_batch_mates() -> None:
    torch.set_num_threads(1)
    random: Random = made("generator/random", shape="tiny", max_new_tokens=8)
    random.load("cpu", seed=3)
    prompts = random.prompts([(INSTRUCTION, "[1] a\n\nQuestion: b"), BEFORE, "Once upon a time"])
    assert random.generate(prompts) == [random.generate([prompt])[0] for prompt in prompts]
