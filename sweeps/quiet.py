"""Noisy libraries, silenced; for processes that import them anyway."""

import logging
import warnings


def quiet_libraries() -> None:
    """Keep transformers and bitsandbytes from writing progress bars and notes to the terminal."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    # peft reads an attribute by its older name, once for each adapter.
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
