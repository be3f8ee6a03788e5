"""Modules that a quantization leaves alone, by the rules of transformers."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

_SKIPPED = ("llm_int8_skip_modules", "modules_to_not_convert")
"""Where the config of a quantized checkpoint says which modules its authors left alone."""


def unquantized_modules(named: Sequence[str] | None, config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the modules of ``model.unquantized_modules``, besides those left alone in any case.

    `named` are those of the sweep file; None takes those that the checkpoint's own config names.
    """
    if named is not None:
        return tuple(named)
    own = config.get("quantization_config") or {}
    return tuple(next((own[key] for key in _SKIPPED if own.get(key)), ()))


def check_names(named: Sequence[str] | None, paths: Sequence[str]) -> None:
    """Raise ValueError, naming ``model.unquantized_modules``, for a name of none of these modules.

    `paths` may be those of modules with weights alone.
    """
    for name in named or ():
        if not any(is_unquantized(path, [name]) for path in paths):
            raise ValueError(
                "model.unquantized_modules must be paths of modules of the base, their beginnings "
                f"or their ends, such as {paths[-1]!r}; got {name!r}"
            )


def is_unquantized(path: str, modules: Sequence[str]) -> bool:
    """Return whether the module at `path` is one of `modules` or inside of one.

    As transformers has it (`should_convert_module`): a name is the beginning of a path up to a
    point, which may be a regular expression, or the end of one.
    """
    boundary = r"(?:(?<=\.)|(?=\.|$))"
    return any(re.match(f"(?:{name}){boundary}", path) or path.endswith(name) for name in modules)
