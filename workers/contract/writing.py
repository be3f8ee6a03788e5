"""Checks of how a base writes captions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from workers.contract.subject import Subject, ends_of
from workers.encoding import collation
from workers.evaluation.generation import generate
from workers.families.base import Base, Batch, Encoded
from workers.families.prompts import Prompt

TOKENS = 6
"""Tokens that are written where their number is given."""
TIE = 1e-4
"""Difference of two log-probabilities that counts as none."""
ROOM = 4
"""Positions that are left where they are few."""


@dataclass(frozen=True, kw_only=True)
class _Written:
    """What was written behind some prompts."""

    tokens: list[list[int]]
    scores: torch.Tensor
    """Of each token that could have been written, (rows, written, vocabulary); of beams, whose
    rows come and go, nothing to rely on."""
    beams: torch.Tensor | None
    """Score of the best beam of each prompt (prompts,)."""


def check_generation(subject: Subject) -> str:
    """Prompts are those of training, and a batch is written as its images are one by one."""
    base, examples = subject.base, subject.examples
    places = range(len(examples.pairs))
    images, prompts = examples.images(places), list(examples.prompts)
    asked = collation.generation_inputs(base, images, prompts)
    for place in places:
        prompt = asked["input_ids"][place][asked["attention_mask"][place] == 1].tolist()
        trained = examples.batch(base, [place])["input_ids"][0].tolist()
        assert trained[: len(prompt)] == prompt, "a prompt has other tokens in training"
    assert asked["attention_mask"][:, -1].all(), "prompts are not padded on the left"
    for beams in (1, 3):
        together = _written(base, images, prompts, beams)
        for place, image in enumerate(images):
            alone = _written(base, [image], prompts[place : place + 1], beams)
            assert _are_alike(alone, together, place), (
                f"with {beams} beams, a batch has other tokens than its images"
            )
    return f"{len(prompts)} captions of {TOKENS} tokens, with 1 beam and with 3"


def check_end(subject: Subject) -> str:
    """Writing ends at a token of `generation_config`, and text comes back without prompt."""
    base, examples = subject.base, subject.examples
    images, prompts = examples.images([0]), list(examples.prompts[:1])
    second = _written(base, images, prompts, beams=1).tokens[0][1 + base.encoder_decoder]
    inputs = _inputs(base, images, prompts)
    before = 1 if base.encoder_decoder else inputs["input_ids"].shape[1]
    ended = base.model.generate(
        **inputs, max_new_tokens=TOKENS, do_sample=False, eos_token_id=second
    )
    assert ended.shape[1] <= before + 2, "generation does not stop at the end of text"
    tokenizer = base.processor.tokenizer
    caption = tokenizer("a disc", add_special_tokens=False)["input_ids"]
    start = torch.zeros(1, 1, dtype=torch.long) if base.encoder_decoder else inputs["input_ids"]
    output = torch.cat([start, torch.tensor([[*caption, ends_of(base)[0]]])], dim=1)
    decoded, expected = collation.decode(base, inputs, output), tokenizer.decode(caption).strip()
    assert decoded == [expected], f"{expected!r} comes back as {decoded[0]!r}"
    forwards = _forwards_in_few_positions(
        base, images, prompts, ROOM if base.encoder_decoder else before + ROOM
    )
    assert forwards <= ROOM, f"with {ROOM} positions left, {forwards} tokens are written"
    ends = ", ".join(repr(tokenizer.decode([token])) for token in ends_of(base))
    return f"writing stops at {ends}, and at the last of {base.positions:,} positions"


def _forwards_in_few_positions(
    base: Base, images: Sequence[Encoded], prompts: Sequence[Prompt], positions: int
) -> int:
    """Return how many tokens are written by a model that would have so many positions."""
    few, forwards = replace(base), [0]
    vars(few)["positions"] = positions

    def count(*_: Any) -> None:
        forwards[0] += 1

    hook = base.model.register_forward_pre_hook(count)
    try:
        generate(few, base.model, images, prompts, beams=1, max_new_tokens=10 * ROOM)
    finally:
        hook.remove()
    return forwards[0]


def _inputs(base: Base, images: Sequence[Encoded], prompts: Sequence[Prompt]) -> Batch:
    """Return the arguments of `generate` as the model takes them."""
    return collation.on_device(base, collation.generation_inputs(base, images, prompts))


def _written(
    base: Base, images: Sequence[Encoded], prompts: Sequence[Prompt], beams: int
) -> _Written:
    """Return what follows each prompt."""
    inputs = _inputs(base, images, prompts)
    limits = {"max_new_tokens": TOKENS, "min_new_tokens": TOKENS}
    detailed = {"return_dict_in_generate": True, "output_scores": True}
    made = base.model.generate(**inputs, num_beams=beams, do_sample=False, **limits, **detailed)
    start = 0 if base.encoder_decoder else inputs["input_ids"].shape[1]
    return _Written(
        tokens=made.sequences[:, start:].tolist(),
        scores=torch.stack(made.scores, dim=1).log_softmax(-1),
        beams=made.sequences_scores if beams > 1 else None,
    )


def _are_alike(alone: _Written, together: _Written, place: int) -> bool:
    """Return whether a row of a batch is what its image has alone.

    Two tokens, or beams, that are as likely but for rounding may change places: weights are random.
    """
    one, other = alone.tokens[0], together.tokens[place]
    if one == other:
        return True
    if alone.beams is not None and together.beams is not None:
        return abs(float(alone.beams[0] - together.beams[place])) < TIE
    step = next(at for at, pair in enumerate(zip(one, other, strict=True)) if pair[0] != pair[1])
    scores = alone.scores[0, step - (len(one) - alone.scores.shape[1])]
    return abs(float(scores[one[step]] - scores[other[step]])) < TIE
