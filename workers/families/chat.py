"""Families with a chat template: prompt and answer are turns of a conversation."""

from collections.abc import Mapping
from typing import Any

from workers.families.base import Base, Family
from workers.families.prompts import Prompt


class ChatFamily(Family):
    """A family whose processor has a chat template, and whose images differ in their tokens."""

    PROMPTS: Mapping[str, str] = {"captioning": "Describe this image.", "vqa": "{question}"}
    SYSTEM_PROMPT: bool = True
    IMAGES_IN_ROWS: bool = False

    def rendered(self, base: Base, prompt: Prompt, answer: str | None = None) -> str:
        """Return the conversation with one image placeholder: up to where the answer begins.

        With an `answer` the conversation has that turn as well.
        """
        text = [{"type": "text", "text": prompt.text}] if prompt.text else []
        turns: list[dict[str, Any]] = [{"role": "user", "content": [{"type": "image"}, *text]}]
        if prompt.system is not None:
            system = [{"type": "text", "text": prompt.system}]
            turns.insert(0, {"role": "system", "content": system})
        if answer is not None:
            content = [{"type": "text", "text": answer}]
            turns.append({"role": "assistant", "content": content})
        template = str(base.processor.chat_template)
        # A caption comes without thoughts before it, which some templates ask for otherwise.
        known = {"enable_thinking": False} if "enable_thinking" in template else {}
        whole: str = base.processor.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=answer is None, **known
        )
        return whole

    def target_tokens(self, base: Base, prompt: Prompt, target: str) -> list[int]:
        """Return the answer and the token that ends the turn.

        Raises ValueError, naming ``model.base``, where the conversation with the answer does not
        begin with the one without: what is learned would not be what is asked.
        """
        before, whole = self.rendered(base, prompt), self.rendered(base, prompt, target)
        if not whole.startswith(before):
            raise ValueError(
                "model.base: the chat template must render a conversation with its answer as the "
                f"prompt and then the answer; the prompt is {before!r}, the whole {whole!r}"
            )
        tokens = base.tokens(whole[len(before) :])
        configured = base.model.generation_config.eos_token_id
        own = base.processor.tokenizer.eos_token_id
        ends = {own, *(configured if isinstance(configured, list) else [configured])}
        for index, token in enumerate(tokens):
            if token in ends:
                return tokens[: index + 1]
        return [*tokens, own]
