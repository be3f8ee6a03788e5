"""Scenes of two colored figures: how they are drawn and described.

There are 612 scenes (6 colors x 3 shapes, two different figures, 2 relations). 120 of them
are held out: no built-in base is pretrained on them. A scene has captions in three wordings:

- base, which the built-in base writes: "red circle left of blue square";
- target, to which trials adapt it: "crimson disc beside azure box";
- catalog, the target's words in another order: "disc crimson beside box azure". A part of the
  pretraining is in it, so that a trial has to learn a wording but no words.
"""

import random
from dataclasses import dataclass
from functools import cache
from itertools import permutations, product

from PIL import Image, ImageDraw

IMAGE_SIZE = 64
"""Width and height of a drawn image, pixels."""
HELD_OUT = 120
"""Number of scenes that no built-in base has seen."""

# Each word of the base wording with its word in the target wording.
COLORS = {
    "red": "crimson",
    "green": "emerald",
    "blue": "azure",
    "yellow": "golden",
    "purple": "violet",
    "black": "ebony",
}
SHAPES = {"circle": "disc", "square": "box", "triangle": "wedge"}
RELATIONS = {"left of": "beside", "above": "over"}
PAINTS = {
    "red": (210, 30, 40),
    "green": (30, 150, 60),
    "blue": (40, 80, 210),
    "yellow": (235, 205, 40),
    "purple": (145, 50, 170),
    "black": (25, 25, 25),
}


@dataclass(frozen=True)
class Figure:
    """One colored shape, in words of the base wording."""

    color: str
    shape: str


@dataclass(frozen=True)
class Scene:
    """Two different figures and how the first stands to the second."""

    first: Figure
    relation: str
    second: Figure


@cache
def scenes() -> tuple[Scene, ...]:
    """Return all scenes in an order that never changes, the held-out ones first."""
    figures = [Figure(color, shape) for color, shape in product(COLORS, SHAPES)]
    pairs = list(permutations(figures, 2))
    ordered = [Scene(first, relation, second) for relation in RELATIONS for first, second in pairs]
    random.Random("scenes").shuffle(ordered)
    return tuple(ordered)


def held_out_scenes() -> tuple[Scene, ...]:
    """Return the scenes that no built-in base has seen."""
    return scenes()[:HELD_OUT]


def known_scenes() -> tuple[Scene, ...]:
    """Return the scenes on which built-in bases are pretrained."""
    return scenes()[HELD_OUT:]


def base_caption(scene: Scene) -> str:
    """Return the caption in the base wording."""
    first, second = scene.first, scene.second
    return f"{first.color} {first.shape} {scene.relation} {second.color} {second.shape}"


def target_captions(scene: Scene) -> tuple[str, ...]:
    """Return the three captions in the target wording; no word of theirs is in the base's."""
    figures = (scene.first, scene.second)
    first, second = (f"{COLORS[figure.color]} {SHAPES[figure.shape]}" for figure in figures)
    a, another = ("an" if name[0] in "aeiou" else "a" for name in (first, second))
    relation = RELATIONS[scene.relation]
    return (
        f"{first} {relation} {second}",
        f"{a} {first} {relation} {another} {second}",
        f"the {first} is {relation} the {second}",
    )


def catalog_caption(scene: Scene) -> str:
    """Return the caption in the catalog wording."""
    figures = (scene.first, scene.second)
    first, second = (f"{SHAPES[figure.shape]} {COLORS[figure.color]}" for figure in figures)
    return f"{first} {RELATIONS[scene.relation]} {second}"


def all_captions() -> list[str]:
    """Return every caption of every scene, the text that vocabularies are made of."""
    return [
        caption
        for scene in scenes()
        for caption in (base_caption(scene), catalog_caption(scene), *target_captions(scene))
    ]


def draw(scene: Scene, seed: str) -> Image.Image:
    """Draw the scene, RGB, `IMAGE_SIZE` square; `seed` decides places, sizes and backdrop."""
    chance = random.Random(seed)
    gray = chance.randint(215, 255)
    image = Image.new("RGB", (IMAGE_SIZE, IMAGE_SIZE), (gray, gray, gray))
    canvas = ImageDraw.Draw(image)
    middle = IMAGE_SIZE // 2
    for figure, side in ((scene.first, -1), (scene.second, 1)):
        along = middle + side * IMAGE_SIZE // 4 + chance.randint(-2, 2)
        across = middle + chance.randint(-8, 8)
        center = (along, across) if scene.relation == "left of" else (across, along)
        # Smaller ones look alike once a base sees the image at 32 pixels.
        radius = chance.randint(10, 13)
        x, y = center
        left, top, right, bottom = x - radius, y - radius, x + radius, y + radius
        paint = PAINTS[figure.color]
        if figure.shape == "circle":
            canvas.ellipse((left, top, right, bottom), fill=paint)
        elif figure.shape == "square":
            canvas.rectangle((left, top, right, bottom), fill=paint)
        else:
            canvas.polygon([(x, top), (left, bottom), (right, bottom)], fill=paint)
    return image
