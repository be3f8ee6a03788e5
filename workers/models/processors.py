"""Processors for images and text alone, built in one way for every architecture.

Many processors of transformers want one for videos as well, which needs torchvision, and some one
for sounds. Nothing here shows a model either, so they are left out; and images are prepared by
Pillow, whether torchvision is installed or not, so that the same image has the same pixels on
every machine.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from transformers.models.auto.processing_auto import (
    PROCESSOR_MAPPING_NAMES,
    processor_class_from_name,
)
from transformers.processing_utils import ProcessorMixin
from transformers.utils.hub import cached_file

from workers.files import own_code
from workers.models.checkpoint_files import PROCESSORS, TOKENIZERS

_KEPT = ("image_processor", "tokenizer")
"""Ends of the names of the parts that are kept; InstructBLIP has a ``qformer_tokenizer``, too."""
_FOR_VIDEOS = ("num2words",)
"""Functions of optional packages that a constructor asks for and only videos need."""


class _Absent:
    """Stands for a part that is left out, of which a constructor may read a setting."""

    def __getattr__(self, name: str) -> None:
        return None


class _ImagesAndText(ProcessorMixin):  # type: ignore[misc]
    """Put behind a processor's class in the order of bases, takes the other parts away from it."""

    video_processor = feature_extractor = _Absent()

    def __init__(self, *parts: Any, **named: Any) -> None:
        named |= dict(zip(super().get_attributes(), parts, strict=False))
        super().__init__(
            **{name: part for name, part in named.items() if name not in self.absent()}
        )

    @classmethod
    def get_attributes(cls) -> list[str]:
        """Return the names of the parts, in the constructor's order."""
        return [name for name in super().get_attributes() if name.endswith(_KEPT)]

    @classmethod
    def absent(cls) -> dict[str, None]:
        """Return the names of the parts that are left out, as arguments of the constructor."""
        return dict.fromkeys({*super().get_attributes()} - {*cls.get_attributes()})

    @classmethod
    def from_args_and_dict(cls, args: Any, processor_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Build the processor from its parts, by name: in their order some are missing."""
        parts = dict(zip(cls.get_attributes(), args, strict=True))
        return super().from_args_and_dict([], processor_dict, **kwargs, **parts, **cls.absent())

    def __reduce__(self) -> Any:
        return _unpickled, (type(self).__name__,), self.__dict__


@cache
def image_only(name: str) -> Any:
    """Return the processor class of transformers with this name, for images and text alone.

    It has the original's name, which `save_pretrained` writes down. Raises KeyError for a name
    that is unknown, and ImportError where the class needs a package that is not installed.
    """
    original = _original(name)
    module = sys.modules[original.__module__]
    vars(module).update({each: str for each in _FOR_VIDEOS if vars(module).get(each, str) is None})
    return type(name, (original, _ImagesAndText), {"__module__": original.__module__})


def build(name: str, **parts: Any) -> Any:
    """Return a processor of this class made of its parts and settings; raises as `image_only`."""
    chosen = image_only(name)
    return chosen(**parts, **chosen.absent())


def load(source: str, revision: str | None) -> Any:
    """Return the processor of a checkpoint, for images and text alone.

    Raises `own_code.OwnCodeError` for one that is code of the checkpoint's own, OSError where
    files are missing, and what transformers raises where a class cannot be built.
    """
    from transformers import AutoProcessor

    with own_code.refused(source):
        name = _class_name(source, revision)
        if name is None or processor_class_from_name(name) is None:
            return AutoProcessor.from_pretrained(
                source, revision=revision, backend="pil", trust_remote_code=False
            )
        return image_only(name).from_pretrained(
            source, revision=revision, backend="pil", trust_remote_code=False
        )


def missing_files(source: str, revision: str | None) -> str | None:
    """Return which files of a processor the checkpoint lacks, or None."""
    for wanted in (PROCESSORS, TOKENIZERS):
        if not any(_file(source, name, revision) for name in wanted):
            return " or ".join(wanted[:2])
    return None


def _file(source: str, name: str, revision: str | None) -> str | None:
    found: str | None = cached_file(
        source,
        name,
        revision=revision,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return found


def _class_name(source: str, revision: str | None) -> str | None:
    """Return what the checkpoint calls its processor, or else what its architecture does."""
    for file in (*PROCESSORS, "tokenizer_config.json", "config.json"):
        path = _file(source, file, revision)
        saved = json.loads(Path(path).read_text()) if path else {}
        if name := saved.get("processor_class") or PROCESSOR_MAPPING_NAMES.get(
            saved.get("model_type", "")
        ):
            return str(name)
    return None


def _original(name: str) -> Any:
    found = processor_class_from_name(name)
    if found is None:
        raise KeyError(name)
    if not getattr(found, "is_dummy", False):
        return found
    # Its module reads a helper from the image processor of torchvision; that of Pillow has it too.
    family = found.__module__.rpartition("processing_")[2]
    package = f"transformers.models.{family}"
    with _in_place(
        f"{package}.image_processing_{family}", f"{package}.image_processing_pil_{family}"
    ):
        return getattr(import_module(f"{package}.processing_{family}"), name)


@contextmanager
def _in_place(name: str, other: str) -> Iterator[None]:
    """Have imports of the module `name` find the `other` for a while."""
    sys.modules[name] = import_module(other)
    try:
        yield
    finally:
        del sys.modules[name]


def _unpickled(name: str) -> Any:
    """Return a processor without parts, which its pickle then has."""
    return object.__new__(image_only(name))
