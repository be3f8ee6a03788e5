"""Fields that a sweep's bases cannot meet, found before any of them is loaded."""

from sweeps.capacity.memory import Files, corners
from sweeps.spec.sweep import Sweep
from workers.memory.weights import adapted_paths
from workers.models import attention
from workers.models.parts import check_learning_rates
from workers.quantizations.unquantized import check_names


def refuse_unfit_models(sweep: Sweep, files: Files) -> None:
    """Raise ValueError, naming the field, for what a base that is here does not have.

    Imports torch only for a sweep with ``model.attn_implementation``, which transformers alone
    knows.
    """
    for recipe in corners(sweep):
        model = recipe.model
        if own := files.get((model.base, model.revision)):
            if layers := adapted_paths(recipe.adapter, own):  # others: `sweeps.capacity.adapted`
                check_learning_rates(recipe.train, layers)
            paths = [name.rpartition(".")[0] for name in own.shapes]
            check_names(model.unquantized_modules, paths)
    for model in {recipe.model for recipe in corners(sweep)}:
        attention.check_base(model)


def refuse_gpu_attention(sweep: Sweep) -> None:
    """Raise ValueError for a kernel of the attention that wants a GPU, where no host has one."""
    for name in sweep.swept("model.attn_implementation", sweep.model.attn_implementation):
        attention.check_device(name, gpu=False)
