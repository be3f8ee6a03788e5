"""What families with a chat template share: prompt and answer as turns of a conversation."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workers.families.base import Base
    from workers.families.prompts import Prompt

PROMPTS = {"captioning": "Describe this image.", "vqa": "{question}"}


def rendered(base: "Base", prompt: "Prompt") -> str:
    """Return the conversation up to where the answer begins, with one image placeholder."""
    return _render(base, _turns(prompt), add_generation_prompt=True)


def target_tokens(base: "Base", prompt: "Prompt", target: str) -> list[int]:
    """Return the answer and the token that ends the turn.

    Raises ValueError, naming ``model.base``, where the conversation with the answer does not
    begin with the one without: what is learned would not be what is asked.
    """
    before = rendered(base, prompt)
    answer = {"role": "assistant", "content": [{"type": "text", "text": target}]}
    whole = _render(base, [*_turns(prompt), answer], add_generation_prompt=False)
    if not whole.startswith(before):
        raise ValueError(
            "model.base: the chat template must render a conversation with its answer as the "
            f"prompt and then the answer; the prompt is {before!r}, the whole {whole!r}"
        )
    tokenizer: Any = base.processor.tokenizer
    tokens: list[int] = tokenizer(whole[len(before) :], add_special_tokens=False)["input_ids"]
    ends = {*_generation_ends(base), tokenizer.eos_token_id}
    for index, token in enumerate(tokens):
        if token in ends:
            return tokens[: index + 1]
    return [*tokens, tokenizer.eos_token_id]


def _generation_ends(base: "Base") -> list[int]:
    ends = base.model.generation_config.eos_token_id
    return ends if isinstance(ends, list) else [] if ends is None else [ends]


def _turns(prompt: "Prompt") -> list[dict[str, Any]]:
    text = [{"type": "text", "text": prompt.text}] if prompt.text else []
    question = {"role": "user", "content": [{"type": "image"}, *text]}
    if prompt.system is None:
        return [question]
    system = {"role": "system", "content": [{"type": "text", "text": prompt.system}]}
    return [system, question]


def _render(base: "Base", turns: list[dict[str, Any]], *, add_generation_prompt: bool) -> str:
    text: str = base.processor.apply_chat_template(
        turns, tokenize=False, add_generation_prompt=add_generation_prompt
    )
    return text
