"""All checks, in the order in which they are made."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from workers import families
from workers.contract import reading, sizes, training, writing
from workers.contract.findings import Check, Finding, finding_of, findings
from workers.contract.subject import Subject

CHECKS: Mapping[str, Check] = {
    "prompt and target": reading.check_prompt,
    "loss": reading.check_loss,
    "batch equals one by one": reading.check_batch,
    "image is seen": reading.check_image,
    "several images": reading.check_several_images,
    "resolution": reading.check_resolution,
    "captions": writing.check_generation,
    "end of text": writing.check_end,
    "snapshot and resume": training.check_resume,
    "export to plain peft": training.check_export,
    "targets": training.check_targets,
    "packing": training.check_packing,
    "kept features": training.check_features,
    "int8": training.check_int8,
    "nf4": training.check_nf4,
    "memory estimate": sizes.check_memory,
}
"""Name -> check."""


def examine(
    folder: str, source: Path | None = None, targets: Sequence[str] = ()
) -> Iterator[Finding]:
    """Load the tiny checkpoint in `folder` and yield what each check finds.

    `source` is the folder of the config of the base that it stands for, `targets` are values of
    ``adapter.targets`` in place of the target sets of the family.
    """
    loaded: list[Subject] = []

    def load() -> str:
        loaded.append(Subject.of(folder, source, targets))
        base = loaded[0].base
        kind = base.model.config.model_type
        own = kind if kind in families.MODULES else "generic"
        return f"{type(base.model).__name__}, {type(base.processor).__name__}, {own} family"

    yield finding_of("loads", load)
    for subject in loaded:
        yield from findings(subject, CHECKS)
