"""Checkpoints are data: code that they bring is never run, and nobody is asked to run it.

Left out, ``trust_remote_code`` makes transformers ask on a terminal, where a "y" runs the code.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class OwnCodeError(ValueError):
    """A checkpoint that cannot be loaded without code of its own; the message names it."""


def pickled(base: str) -> str:
    """Return the message for a base without safetensors: a pickle may be a program."""
    return (
        f"model.base: {base!r} has no weights that can be read; they must be safetensors, which "
        "transformers' save_pretrained writes, for a pickle (pytorch_model.bin) is not opened"
    )


@contextmanager
def refused(source: str | Path) -> Iterator[None]:
    """Turn the error of transformers for code in the checkpoint `source` into an `OwnCodeError`."""
    try:
        yield
    except ValueError as error:
        if "trust_remote_code" not in str(error):
            raise
        raise OwnCodeError(
            f"model.base: {str(source)!r} needs Python code that comes with it, which is never "
            "run; use a checkpoint whose classes are part of transformers (a converted one is "
            "often called ...-hf)"
        ) from error
