"""The small files of a base: config, tokenizer, processor, and nothing of its weights."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workers.files import fetched
from workers.models import builtin, checkpoint_files

PATTERNS = ("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken")
"""Names of a checkpoint's files that are not its weights."""


_OF_MODEL = re.compile(r"(generation_|adapter_)?config\.json|.*\.index\.json")
"""Names of small files that are about the weights."""


def of_processor(folder: Path) -> list[Path]:
    """Return the files of tokenizer and processor that lie in a folder."""
    found = {file for pattern in PATTERNS for file in folder.glob(pattern)}
    return sorted(file for file in found if not _OF_MODEL.fullmatch(file.name))


def fetch(base: str, revision: str | None) -> Path:
    """Return the folder of the small files of ``model.base``; those of the hub are fetched.

    Raises ValueError, naming ``model.base`` or ``model.revision``, where they cannot be had.
    """
    if base in builtin.BASES:
        return builtin.base_folder(base)
    if fetched.is_here(base) or Path(base).expanduser().is_dir() or "://" in base:
        folder = Path(fetched.local(base, "model.base")).expanduser()
        if not (folder / "config.json").is_file():
            raise ValueError(f"model.base: {base!r} has no config.json")
        return folder
    from huggingface_hub import errors, snapshot_download

    try:
        with _explained(base, revision):
            return Path(snapshot_download(base, revision=revision, allow_patterns=[*PATTERNS]))
    except errors.HFValidationError as error:
        raise ValueError(
            f"model.base must be a folder that is there, an address, or a name on the hub such as "
            f"Qwen/Qwen3-VL-2B-Instruct, got {base!r}"
        ) from error
    except (errors.LocalEntryNotFoundError, errors.HfHubHTTPError, OSError) as error:
        if (there := checkpoint_files.local_folder(base, revision)) is not None:
            return there
        included = " ".join(f'"{pattern}"' for pattern in PATTERNS)
        raise ValueError(
            f"model.base: the hub does not answer, and {base!r} is not on this machine: where it "
            f"does, hf download {base} --include {included}, and name that folder"
        ) from error


def refuse_unknown(base: str, revision: str | None) -> None:
    """Refuse a name that the hub does not have, or not for this user; nothing is fetched.

    Raises ValueError, naming ``model.base`` or ``model.revision``. A hub that does not answer, and
    a path or an address, which another machine may have, are none of its business.
    """
    from huggingface_hub import HfApi, errors
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(base)
    except errors.HFValidationError:
        return
    try:
        with _explained(base, revision):
            HfApi().auth_check(base)
            if revision is not None:
                HfApi().model_info(base, revision=revision)
    except ValueError:
        raise
    except Exception:  # of the network, by whatever client the hub's library has
        return


@contextmanager
def _explained(base: str, revision: str | None) -> Iterator[None]:
    """Turn the hub's refusals into one sentence each."""
    from huggingface_hub import errors

    login = "log in (hf auth login), or set HF_TOKEN"
    try:
        yield
    except errors.GatedRepoError as error:
        raise ValueError(
            f"model.base: {base!r} is gated: accept its licence at https://huggingface.co/{base}, "
            f"and then {login}"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ValueError(
            f"model.revision must be a commit, branch or tag of {base!r}, got {revision!r}"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ValueError(
            f"model.base: the hub has no model {base!r} that you may see: look at the spelling; "
            f"for a private one {login}"
        ) from error
