"""torch, transformers and peft: imported in less time and without their messages."""

import gc
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


def quiet_libraries() -> None:
    """Keep transformers and bitsandbytes from writing progress bars and notes to the terminal."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    # peft reads an attribute by its older name, once for each adapter.
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")


def disable_compilers() -> None:
    """Leave out what compiles models, a fifth of all imports, in this process and its children.

    Nothing is compiled here. For processes that are all ours, before they import torch.
    """
    os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")


@contextmanager
def heavy_imports() -> Iterator[None]:
    """Collect no garbage during the block: of all that imports make nothing goes.

    To look for it takes a fifth of their time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
