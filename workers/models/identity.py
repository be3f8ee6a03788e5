"""What a base model is, whatever it is called: a commit of the hub, or the digest of its files."""

import hashlib
from pathlib import Path

from workers.files import own_code
from workers.models.loading import resolve
from workers.recipe import Model

_FILES = ("config.json", "*.safetensors", "*.bin")
"""What of a saved checkpoint decides what it computes."""


def identity(model: Model) -> str:
    """Return ``name@commit`` for a model of the hub, and the SHA-256 of its files for a folder.

    A folder has the same identity on every machine. Its weights are read once, about a second
    per GB. Raises OSError when the hub's model is neither reachable nor downloaded.
    """
    source = resolve(model.base)
    if Path(source).is_dir():
        return _digest(Path(source))
    from transformers import AutoConfig

    with own_code.refused(source):
        config = AutoConfig.from_pretrained(
            source, revision=model.revision, trust_remote_code=False
        )
    return f"{model.base}@{getattr(config, '_commit_hash', None) or model.revision}"


def _digest(folder: Path) -> str:
    whole = hashlib.sha256()
    for file in sorted({file for pattern in _FILES for file in folder.glob(pattern)}):
        with file.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
        whole.update(f"{file.name} {found}\n".encode())
    return whole.hexdigest()
