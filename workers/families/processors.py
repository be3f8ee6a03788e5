"""Loading of processors whose images are prepared by PIL."""

from typing import Any


def load(source: str, revision: str | None) -> Any:
    """Return what `AutoProcessor` loads; PIL, so that results do not depend on torchvision."""
    from transformers import AutoProcessor

    return AutoProcessor.from_pretrained(source, revision=revision, backend="pil")
