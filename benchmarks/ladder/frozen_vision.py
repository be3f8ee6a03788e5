"""GIT's vision tower run once per image: nothing that trains lies in it."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from PIL import Image

from benchmarks.ladder import samples
from workers.data.images import FORMATS


class Kept(torch.nn.Module):
    """Stands in for the vision tower: its input is its output."""

    def forward(self, pixel_values: torch.Tensor, **_: Any) -> Any:
        return SimpleNamespace(last_hidden_state=pixel_values.squeeze(1))


@torch.no_grad()
def keep_features(
    model: Any, processor: Any, splits: Mapping[str, list[samples.Image]], batch_size: int
) -> dict[str, torch.Tensor]:
    """Return split -> projected features (images, 1, image tokens, hidden) of its images.

    From now on the model takes such features as its ``pixel_values``.
    """
    git, found = model.git, {}
    for split, images in splits.items():
        parts = []
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size]
            opened = [Image.open(i.path, formats=FORMATS).convert("RGB") for i in batch]
            pixels = processor(images=opened, return_tensors="pt")["pixel_values"].to(model.device)
            parts.append(git.visual_projection(git.image_encoder(pixels).last_hidden_state))
        found[split] = torch.cat(parts).unsqueeze(1)
    git.image_encoder, git.visual_projection = Kept(), torch.nn.Identity()
    return found
