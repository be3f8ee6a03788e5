"""The rules of the Amazon ML Challenge 2024 for what is read off a product image.

A prediction is empty, for no value in the image, or ``x unit``: a plain decimal number, one
space, and a unit that the entity allows, such as ``12.5 centimetre``.
"""

import math
import re

# The challenge says imperial gallon where it means that one, so the other gallon, and with it
# cup, pint, quart, fluid ounce and ton, are taken as the customary units of the United States.
SIZES = {
    "metre": {"millimetre": 0.001, "centimetre": 0.01, "metre": 1.0}
    | {"inch": 0.0254, "foot": 0.3048, "yard": 0.9144},
    "gram": {"microgram": 1e-6, "milligram": 1e-3, "gram": 1.0, "kilogram": 1e3}
    | {"ounce": 28.349523125, "pound": 453.59237, "ton": 907184.74},
    "volt": {"millivolt": 1e-3, "volt": 1.0, "kilovolt": 1e3},
    "watt": {"watt": 1.0, "kilowatt": 1e3},
    "litre": {"microlitre": 1e-6, "millilitre": 1e-3, "centilitre": 1e-2, "decilitre": 0.1}
    | {"litre": 1.0, "cubic inch": 0.016387064, "cubic foot": 28.316846592}
    | {"fluid ounce": 0.0295735295625, "cup": 0.2365882365, "pint": 0.473176473}
    | {"quart": 0.946352946, "gallon": 3.785411784, "imperial gallon": 4.54609},
}
"""Canonical unit -> unit -> its size in the canonical one."""
UNITS = {
    "depth": frozenset(SIZES["metre"]),
    "height": frozenset(SIZES["metre"]),
    "item_volume": frozenset(SIZES["litre"]),
    "item_weight": frozenset(SIZES["gram"]),
    "maximum_weight_recommendation": frozenset(SIZES["gram"]),
    "voltage": frozenset(SIZES["volt"]),
    "wattage": frozenset(SIZES["watt"]),
    "width": frozenset(SIZES["metre"]),
}
"""Entity -> the units that a prediction for it may have."""
_CANONICAL = {unit: (base, size) for base, sizes in SIZES.items() for unit, size in sizes.items()}
_FORMAT = re.compile(r"(-?[0-9]+(?:\.[0-9]+)?) ([a-z]+(?: [a-z]+)?)")
_QUESTION = re.compile(r"What is the ([a-z ]+)\?")


def question(entity: str) -> str:
    """Return the question that asks for an entity: "What is the item weight?"."""
    return f"What is the {entity.replace('_', ' ')}?"


def entity_of(asked: str) -> str | None:
    """Return the entity that a question of `question` asks for, or None for all else."""
    match = _QUESTION.fullmatch(asked)
    entity = match[1].replace(" ", "_") if match else None
    return entity if entity in UNITS else None


def parse(prediction: str) -> tuple[float, str] | None:
    """Return number and unit of ``x unit``, or None when it is not of that form.

    The unit is one that some entity allows. No exponent, sign +, list or second space.
    """
    match = _FORMAT.fullmatch(prediction)
    if match is None or match[2] not in _CANONICAL:
        return None
    value = float(match[1])
    return (value, match[2]) if math.isfinite(value) else None


def is_valid(prediction: str, entity: str) -> bool:
    """Tell whether a prediction may be handed in for an entity; the empty one always may.

    Raises ValueError for an entity that the challenge does not know.
    """
    if entity not in UNITS:
        raise ValueError(f"entity must be one of {', '.join(UNITS)}; got {entity!r}")
    if not prediction:
        return True
    parsed = parse(prediction)
    return parsed is not None and parsed[1] in UNITS[entity]


def canonical(value: float, unit: str) -> tuple[float, str]:
    """Return the quantity in metre, gram, volt, watt or litre.

    Raises ValueError for a unit that the challenge does not know.
    """
    if unit not in _CANONICAL:
        raise ValueError(f"unit must be one of {', '.join(sorted(_CANONICAL))}; got {unit!r}")
    base, size = _CANONICAL[unit]
    return value * size, base


def same_quantity(first: str, second: str) -> bool:
    """Tell whether two predictions are equal, as are ``1 kilogram`` and ``1000.0 gram``.

    Two empty ones are. What is not of the form ``x unit`` equals nothing else.
    """
    if not first or not second:
        return first == second
    quantities = [canonical(*parsed) for text in (first, second) if (parsed := parse(text))]
    if len(quantities) < 2 or quantities[0][1] != quantities[1][1]:
        return False
    return math.isclose(quantities[0][0], quantities[1][0], rel_tol=1e-9)
