"""Checks of how a base reads images, prompts and targets."""

from dataclasses import replace

import torch
from PIL import Image

from workers.contract.findings import NotPossibleError
from workers.contract.subject import (
    CPU,
    SIZES,
    Subject,
    drawn,
    ends_of,
    learned,
    logits_by_hand,
    losses,
    start_of,
)
from workers.encoding import collation
from workers.evaluation.inspection import shown_pairs
from workers.families.base import Base
from workers.models.loading import load_base

LARGE = (640, 480)
"""Width and height of an image for limits of pixels, in pixels."""
LIMITS = (2**14, 2**16, 2**18, 2**20)
"""Values of ``model.max_pixels``, of which the first that the processor can do is tried."""
EXACT = 1e-4
"""Largest difference of two losses that are to be equal, in float32."""


def check_prompt(subject: Subject) -> str:
    """Prompt and target are shown; what is learned is the caption, and a token that ends it."""
    base, examples = subject.base, subject.examples
    tokenizer, ends = base.processor.tokenizer, ends_of(base)
    for place, (_, caption) in enumerate(examples.pairs):
        tokens = learned(examples.batch(base, [place]))
        written, asked = (
            tokenizer.decode(own, skip_special_tokens=True).strip()
            for own in (tokens, tokenizer(caption, add_special_tokens=False)["input_ids"])
        )
        assert written == asked, f"learned is {written!r} in place of the caption {asked!r}"
        assert tokens[-1] in ends, (
            f"a caption ends with {tokenizer.decode(tokens[-1:])!r}, at which generation does not "
            "stop: generation_config.eos_token_id lacks it"
        )
    shown = next(iter(shown_pairs(base, examples)))
    return (
        f"prompt {shown.prompt!r}, target {shown.target!r}: {shown.target_tokens} of "
        f"{shown.prompt_tokens + shown.target_tokens} tokens are learned"
    )


@torch.no_grad()
def check_loss(subject: Subject) -> str:
    """The loss of each row is the cross-entropy of its target's tokens, computed by hand."""
    base, largest = subject.base, 0.0
    for place in range(2):
        batch = subject.examples.batch(base, [place])
        targets = torch.tensor(learned(batch))
        expected = torch.nn.functional.cross_entropy(
            logits_by_hand(base, base.model, batch), targets, reduction="none"
        )
        own = losses(base, base.model, batch)
        largest = max(largest, float((own - expected).abs().max()))
        assert largest < EXACT, f"a token's loss differs by {largest:.2g} from that by hand"
    return f"differs by {largest:.1g} at most from a cross-entropy by hand"


@torch.no_grad()
def check_batch(subject: Subject) -> str:
    """A batch of images of unlike shapes has the losses of its rows one by one."""
    base, examples = subject.base, subject.examples
    places = range(len(examples.pairs))
    together = losses(base, base.model, examples.batch(base, places))
    alone = [losses(base, base.model, examples.batch(base, [place])) for place in places]
    difference = float((together - torch.cat(alone)).abs().max())
    images = (sample.open() for sample in subject.samples)
    sizes = ", ".join(f"{image.width} x {image.height}" for image in images)
    assert difference < EXACT, f"in a batch of {sizes} a token's loss differs by {difference:.2g}"
    return f"{sizes}: differs by {difference:.1g} at most"


@torch.no_grad()
def check_image(subject: Subject) -> str:
    """Another image of the same size gives another loss."""
    base, first = subject.base, subject.samples[0]
    other = replace(first, open=lambda: drawn(first.open().size, seed=5))
    pairs = subject.examples_of((first, other))
    found = [float(losses(base, base.model, pairs.batch(base, [at])).mean()) for at in range(2)]
    assert found[0] != found[1], "two images have the same loss: the image is ignored"
    return f"two images have losses of {found[0]:.4f} and {found[1]:.4f}"


@torch.no_grad()
def check_several_images(subject: Subject) -> str:
    """A conversation may have two images, and what follows depends on both."""
    base, processor = subject.base, subject.base.processor
    if not getattr(processor, "chat_template", None):
        raise NotPossibleError("its processor has no chat template, so a prompt has one image")
    content = [{"type": "image"}, {"type": "image"}, {"type": "text", "text": "what is it?"}]
    turns = [{"role": "user", "content": content}]
    first, second, other = (
        drawn(size, seed=at) for at, size in enumerate(SIZES.values()) if at < 3
    )

    def following(*images: Image.Image) -> torch.Tensor:
        text = processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        made = processor(images=[[*images]], text=[text], return_tensors="pt")
        inputs = {name: tensor for name, tensor in made.items() if name in base.arguments}
        if base.encoder_decoder:
            inputs["decoder_input_ids"] = start_of(base)
        return base.model(**inputs).logits[0, -1]  # type: ignore[no-any-return]

    try:
        both = following(first, second)
        others = following(other, second), following(first, other)
    except Exception as error:  # of a processor or model that takes one image
        reason = f"{type(error).__name__}: {error}"
        raise NotPossibleError(f"two images in one conversation: {reason}") from error
    assert not any(torch.equal(both, own) for own in others), "one of two images is ignored"
    return "two in one conversation; what follows depends on both"


@torch.no_grad()
def check_resolution(subject: Subject) -> str:
    """With less of `model.max_pixels` a large image is read as fewer tokens."""
    large = replace(subject.samples[0], open=lambda: drawn(LARGE, seed=1))

    def tokens(base: Base) -> int:
        pairs = subject.examples_of((large,), base=base)
        assert losses(base, base.model, pairs.batch(base, [0])).isfinite().all()
        return collation.prompt_lengths(base, pairs.images([0]), pairs.prompts)[0]

    def limited(pixels: int) -> Base:
        model = subject.model.model_copy(update={"max_pixels": pixels})
        return load_base(model, "none", CPU)

    refusal = ""
    for limit in LIMITS:
        try:
            fewer, more = tokens(limited(limit)), tokens(limited(4 * limit))
        except ValueError as error:
            refusal = refusal or str(error)
            continue
        assert fewer <= more, (
            f"model.max_pixels {limit} makes {fewer} tokens, 4 times as many {more}"
        )
        return (
            f"an image of {LARGE[0]} x {LARGE[1]} has {tokens(subject.base)} tokens with its "
            f"prompt, {fewer} with model.max_pixels {limit}, {more} with {4 * limit}"
        )
    raise NotPossibleError(refusal)
