"""The prompt for an image: from the recipe, the family's default and the question."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from workers.recipe import QUESTION, PromptText, Task

PLACEHOLDER = "<image>"


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """The prompt for one image."""

    system: str | None
    """System prompt; None leaves it to the chat template."""
    text: str
    """Instruction or question; may be empty."""


class PromptFormat(Protocol):
    """The part of a `Family` that is needed here."""

    PROMPTS: Mapping[str, str]
    SYSTEM_PROMPT: bool


@dataclass(frozen=True, kw_only=True)
class PromptBuilder:
    """Builds the prompt of each image from the task and prompt of a recipe."""

    task: Task = "captioning"
    prompt: PromptText = field(default_factory=PromptText)

    def build(self, family: PromptFormat, question: str | None, image_id: str) -> Prompt:
        """Return the prompt of one image.

        Raises ValueError for an image without question where one is needed, naming it, and for
        a system prompt that the family cannot take, naming ``prompt.system``.
        """
        if self.prompt.system is not None and not family.SYSTEM_PROMPT:
            raise ValueError("prompt.system must be null: this model takes no system prompt")
        text = self.prompt.text if self.prompt.text is not None else family.PROMPTS[self.task]
        if QUESTION in text:
            if not question:
                raise ValueError(f"task {self.task}: {image_id} has no question")
            text = text.replace(QUESTION, question)
        return Prompt(system=self.prompt.system, text=without_placeholder(text))


def without_placeholder(text: str) -> str:
    """Return a prompt without the ``<image>`` that chats of LLaVA have before or behind it.

    Families put an image where their models want it.
    """
    return text.strip().removeprefix(PLACEHOLDER).removesuffix(PLACEHOLDER).strip()
