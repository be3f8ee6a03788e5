"""Tokens of a row: one image with its prompt and its caption or answer.

What only the data could tell is assumed, on the large side; docs/memory.md has the list.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from workers import families
from workers.models.checkpoint_files import CheckpointFiles
from workers.recipe import Recipe

PICTURE = 640 * 640
"""Pixels of an image whose own size decides its tokens: COCO's are at most 640 x 640."""
TEMPLATE_TOKENS = 24
"""Tokens of a chat template with its system prompt, or of the tokens around a prompt."""
LETTERS_PER_TOKEN = 3
QUESTION_TOKENS = 20

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class RowLengths:
    """The lengths of one row, in tokens."""

    vision: int
    """Tokens of the vision tower."""
    image: int
    """Tokens of an image in the language model."""
    prompt: int
    learned: int
    """Tokens of caption or answer that have a label."""

    @property
    def read(self) -> int:
        """Tokens before the first that is learned."""
        return self.image + self.prompt


def row_of(recipe: Recipe, files: CheckpointFiles) -> RowLengths:
    """Return the lengths that are expected of a recipe's rows."""
    vision, text = vision_tokens(files), recipe.prompt.text
    if text is None:
        text = families.get(files.model_type).PROMPTS.get(recipe.task, "")
    letters = len(text) + len(recipe.prompt.system or "")
    question = QUESTION_TOKENS if recipe.task == "vqa" else 0
    return RowLengths(
        vision=vision,
        image=image_tokens(files.shapes, vision),
        prompt=TEMPLATE_TOKENS + question + math.ceil(letters / LETTERS_PER_TOKEN),
        learned=recipe.evaluate.max_new_tokens,
    )


def vision_tokens(files: CheckpointFiles) -> int:
    """Return the tokens of the vision tower: its positions, or the patches of a `PICTURE`."""
    for name, shape in files.shapes.items():
        seeing = any(word in name for word in ("vision", "visual", "image_encoder"))
        if seeing and "position_embedding" in name:
            return shape[-2]
    shapes = files.shapes.items()
    patch = next((s for name, s in shapes if "patch_embed" in name and len(s) > 3), ())
    fewest, most = files.pixels or (PICTURE, PICTURE)
    pixels = min(max(PICTURE, fewest), most)
    return math.ceil(pixels / (patch[-1] * patch[-2])) if patch else 0


def image_tokens(shapes: Mapping[str, Shape], vision: int) -> int:
    """Return the tokens that stand for an image: of a Q-Former its queries, else merged patches."""
    if "query_tokens" in shapes:
        return shapes["query_tokens"][1]
    joined = next((s[1] for name, s in shapes.items() if name.endswith("merger.mlp.0.weight")), 0)
    width = next((s[0] for name, s in shapes.items() if name.endswith("merger.ln_q.weight")), 1)
    return math.ceil(vision / (joined // width)) if joined else vision
