"""Loading of processors whose images are prepared by PIL."""

from typing import Any

from workers.files import own_code


def load(source: str, revision: str | None) -> Any:
    """Return what `AutoProcessor` loads; PIL, so that results do not depend on torchvision."""
    from transformers import AutoProcessor

    with own_code.refused(source):
        return AutoProcessor.from_pretrained(
            source, revision=revision, backend="pil", trust_remote_code=False
        )
