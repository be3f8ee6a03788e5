"""Texts like those that people and models write about images, drawn from a seed."""

import random

import pytest

SUBJECTS = (
    "a man", "A young woman", "two dogs", "Three children", "the boy's brown dog", "people",
    "a black-and-white cat", "an old couple", "The U.S. team", "a group of 20 runners",
    "someone in a T-shirt", "a café owner", "Dr. Smith's bike", "the lady", "kids",
)  # fmt: skip
VERBS = (
    "is running", "runs", "sit", "sits", "jumps over", "is jumping off", "are playing with",
    "looks at", "doesn't look at", "rides", "is riding", "holds", "can't reach", "watches",
)  # fmt: skip
OBJECTS = (
    "a red ball", "the big street", "a wooden bench (broken)", "2 1/2 pizzas", "water", "the sea",
    'a sign that says "STOP"', "a $5 hot-dog", "an ocean wave", "the grass", "a frisbee...",
    "no. 7 of the race", "a dirt bike & helmet", "skateboards", "1,000 balloons", "O'Neill's bar",
)  # fmt: skip
TAILS = (
    "in the park", "on the street", "at night", "near the water", "at 5 p.m.", "quickly", "outside",
    "while a crowd watches", "beside a tall building", "-- and smiles", "; it's raining", "etc.",
)  # fmt: skip
ENDS = (".", " .", "", "", "!", "?", "...", " no.")


class Writer:
    """Writes captions, and other people's captions of the same image."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)

    def caption(self) -> str:
        parts = [self._draw.choice(some) for some in (SUBJECTS, VERBS, OBJECTS, TAILS)]
        text = " ".join(parts[: self._draw.randint(2, 4)]) + self._draw.choice(ENDS)
        return text.upper() if self._draw.random() < 0.05 else text

    def variation(self, caption: str) -> str:
        words = caption.split()
        for _ in range(self._draw.randint(0, 3)):
            place = self._draw.randrange(len(words))
            words[place : place + self._draw.randint(0, 1)] = [
                self._draw.choice(self.caption().split())
            ]
        return " ".join(words[self._draw.randint(0, 1) :])

    def references(self, images: int, most: int = 4) -> dict[str, list[str]]:
        first = {f"{n}.png": self.caption() for n in range(images)}
        return {
            image: [text, *(self.variation(text) for _ in range(self._draw.randrange(most)))]
            for image, text in first.items()
        }

    def candidates(self, references: dict[str, list[str]]) -> dict[str, str]:
        return {image: self.variation(texts[-1]) for image, texts in references.items()}

    def next_round(
        self, candidates: dict[str, str], references: dict[str, list[str]]
    ) -> dict[str, str]:
        """Change about a quarter of the captions."""
        return {
            image: self.variation(references[image][0]) if self._draw.random() < 0.25 else text
            for image, text in candidates.items()
        }


@pytest.fixture(scope="session")
def writer() -> type[Writer]:
    return Writer
