"""A CPU that pretends to be a GPU: what an operation would launch, wait for, copy, or refuse there.

    with PretendGpu() as gpu:
        model.to(gpu.device)
        gpu.forget()
        model(x.to(gpu.device, non_blocking=True))
    print(gpu.launches.total(), gpu.waits, gpu.copies)

Storages carry a mark "on the GPU", and stay where they are: numbers are real, forward and backward,
with a build of torch that knows no CUDA. A function mode of torch translates devices (what asks for
CUDA gets marked memory of the CPU, and a marked tensor says that it is on CUDA), and a dispatch
mode sees every operator of ATen. Each operator counts as one launch, unless it is a view or only
allocates: a few take two or three kernels on a real GPU, the same ones whatever is trained. Copies
to and from the GPU count as launches, too.

Not seen: work of threads, of C++ extensions and of a Python function of torch inside itself (a
function mode does not see what the function that it handles calls). `torch.cuda.is_available` stays
false.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType, SimpleNamespace, TracebackType
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import checkpoint
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CUDA, CPU = torch.device("cuda:0"), torch.device("cpu")
_OWN = Path(__file__)
_PROJECT = _OWN.parents[1]

_ALLOCATE = {
    "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "resize_", "set_",
    "detach_", "_unsafe_view", "_local_scalar_dense", "is_pinned", "is_same_size",
}  # fmt: skip
"""Operators that launch nothing, besides views; `_local_scalar_dense` is counted as a wait."""
_WAIT = {
    "_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "bincount",
    "_unique2", "unique_dim", "unique_consecutive",
}  # fmt: skip
"""Operators whose result the host must know before it goes on: a number, or a shape."""
_READ = {"tolist", "numpy", "__array__"}
"""Methods that read memory without an operator."""
_FROM_HOST = {"tensor", "as_tensor", "asarray", "new_tensor"}
"""Functions that copy what Python or the CPU holds."""
_INDEX = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}


class PretendGpu:
    """Counts while it is entered; `forget` begins anew.

    Raises RuntimeError, as a GPU does, for an operator that gets tensors of both devices.
    """

    device = CUDA

    def __init__(self) -> None:
        self.launches: Counter[str] = Counter()
        """By the operator's name."""
        self.waits: Counter[str] = Counter()
        """Where the host waits for the device, by what and by the line of this project."""
        self.copies: Counter[str] = Counter()
        """Copies to the device that block, likewise; with ``non_blocking=True`` none does."""
        self._entered = ExitStack()

    def forget(self) -> None:
        """Set all counts to zero."""
        for counts in (self.launches, self.waits, self.copies):
            counts.clear()

    def __enter__(self) -> "PretendGpu":
        functions = _Functions(self)
        run_backward = torch.autograd.graph._engine_run_backward

        def backward(*args: Any, **named: Any) -> Any:
            # `backward` is a function that the mode handles; autograd calls Python inside it.
            with functions:
                return run_backward(*args, **named)

        stand_ins: dict[str, Any] = {
            "torch.autograd._engine_run_backward": backward,
            "torch.cuda.synchronize": lambda *_: self.wait("torch.cuda.synchronize"),
            "torch.cuda.reset_peak_memory_stats": lambda *_: None,
            "torch.cuda.max_memory_allocated": lambda *_: 0,
            "torch.cuda.memory_allocated": lambda *_: 0,
            "torch.cuda.get_device_properties": lambda *_: SimpleNamespace(total_memory=2**37),
            "torch.cuda.get_rng_state": lambda *_: torch.get_rng_state(),
            "torch.cuda.set_rng_state": lambda state, *_: torch.set_rng_state(state),
            "torch.Generator": _Generator,
            "torch._C._group_tensors_by_device_and_dtype": _grouped,
        }
        enter = self._entered.enter_context
        # Hooks of saved tensors are called inside functions, too, where the mode does not see them.
        enter(patch.dict(checkpoint._allowed_determinism_checks_to_fns, default=_shape_and_type))
        for target, stand_in in stand_ins.items():
            enter(patch(target, stand_in))
        enter(_Operators(self))
        enter(functions)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._entered.close()

    def wait(self, what: str) -> None:
        """Count a wait of the host."""
        self.waits[f"{what} at {_caller()}"] += 1

    def copy(self, what: str) -> None:
        """Count a blocking copy to the device."""
        self.copies[f"{what} at {_caller()}"] += 1


class _Generator(torch.Generator):
    """The CPU's generator, whatever the device."""

    def __new__(cls, device: Any = None) -> "_Generator":
        return super().__new__(cls)


def _is_marked(tensor: Tensor) -> bool:
    return tensor.layout == torch.strided and hasattr(tensor.untyped_storage(), "on_pretended_gpu")


def _mark(tensor: Tensor) -> None:
    # Python attributes of a storage live as long as it does.
    tensor.untyped_storage().on_pretended_gpu = True  # type: ignore[attr-defined]


_group_tensors = torch._C._group_tensors_by_device_and_dtype


def _grouped(lists: Any, indices: bool) -> Any:
    """Group tensors by device as optimizers do, in C++, which sees no marks."""
    found = _group_tensors(lists, indices).items()
    marked = {key: any(map(_is_marked, _tensors(own[0][0]))) for key, own in found}
    return {(CUDA if marked[key] else key[0], key[1]): own for key, own in found}


def _shape_and_type(tensor: Tensor) -> tuple[torch.Size, torch.dtype]:
    return tensor.shape, tensor.dtype


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


class _Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees all that is computed: what autograd records, and its backward."""

    def __init__(self, gpu: PretendGpu) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._gpu = gpu

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunction():
            with self:  # in inference mode composite operators arrive whole
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
            name = func._schema.name.split("::")[1]
            given = _tensors((args, kwargs))
            on_gpu = any(map(_is_marked, given)) and self._check(name, args, kwargs, given)
            out = func(*args, **kwargs)
            if on_gpu:
                if not func.is_view and name not in _ALLOCATE:
                    self._gpu.launches[name] += 1
                for tensor in _tensors(out):
                    _mark(tensor)
            return out

    def _check(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], given: Iterable[Tensor]
    ) -> bool:
        """Count what an operator with marked tensors waits for; return whether it runs there."""
        if name == "copy_":
            return self._check_copy(*args, **kwargs)
        if name in _WAIT or (name == "repeat_interleave" and not kwargs.get("output_size")):
            self._gpu.wait(name)
        if name in _INDEX and _is_marked(args[0]):
            places = _tensors(args[1])
            given = [each for each in given if not any(each is place for place in places)]
            if any(place.dtype in (torch.bool, torch.uint8) for place in places):
                self._gpu.wait(f"{name} by a mask")
            if not all(map(_is_marked, places)):
                self._gpu.copy(f"the places of {name}")
        # A single number of the CPU is handed to a kernel as an argument.
        wrong = [each for each in given if each.dim() and not _is_marked(each)]
        if wrong:
            raise RuntimeError(
                f"{name} at {_caller()}: all tensors must be on {CUDA}, but those of shape "
                f"{', '.join(str(tuple(each.shape)) for each in wrong)} are on the CPU"
            )
        return True

    def _check_copy(self, target: Tensor, source: Tensor, non_blocking: bool = False) -> bool:
        if _is_marked(target) and not _is_marked(source) and source.dim() and not non_blocking:
            self._gpu.copy("copy_")
        if not _is_marked(target) and not non_blocking:
            self._gpu.wait("copy_ to the CPU")
        return _is_marked(target)


class _Functions(TorchFunctionMode):
    """Translates devices in calls of torch's functions, methods and properties."""

    def __init__(self, gpu: PretendGpu) -> None:
        super().__init__()
        self._gpu = gpu

    def __torch_function__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        own = args[0] if args and isinstance(args[0], Tensor) else None
        marked = own is not None and _is_marked(own)
        if name == "__get__" and marked:
            asked = getattr(func.__self__, "__name__", "")
            if asked in ("device", "is_cuda", "is_cpu"):
                return CUDA if asked == "device" else asked == "is_cuda"
        if own is not None and name in ("to", "cpu", "cuda"):
            return self._moved(name, own, args[1:], kwargs)
        if name in ("pin_memory", "is_pinned"):  # there is nothing to pin it for
            return own if name == "pin_memory" else True
        if marked and name in _READ:
            self._gpu.wait(name)
        device = kwargs.get("device")
        wanted = name.startswith("new_") and marked
        if device is not None:
            wanted = torch.device(device).type == "cuda"
            kwargs["device"] = CPU
        kwargs.pop("pin_memory", None)
        out = func(*args, **kwargs)
        if not wanted or not isinstance(out, Tensor) or _is_marked(out):
            return out
        if name in _FROM_HOST:
            return self._copied(f"torch.{name}", out, blocking=True)
        if name not in _ALLOCATE:
            self._gpu.launches[name] += 1
        _mark(out)
        return out

    def _moved(self, name: str, own: Tensor, rest: Sequence[Any], kwargs: dict[str, Any]) -> Tensor:
        """Return what `to`, `cpu` or `cuda` makes of a tensor."""
        marked = _is_marked(own)
        device = kwargs.pop("device", {"cpu": CPU, "cuda": CUDA}.get(name))
        dtype = kwargs.pop("dtype", own.dtype)
        non_blocking = kwargs.pop("non_blocking", any(value is True for value in rest))
        for value in rest:
            if isinstance(value, Tensor):
                device, dtype = CUDA if _is_marked(value) else CPU, value.dtype
            elif isinstance(value, torch.dtype):
                dtype = value
            elif isinstance(value, (torch.device, str)):
                device = value
        out = own.to(dtype, **kwargs)
        cuda = marked if device is None else torch.device(device).type == "cuda"
        if cuda == marked:
            return out
        self._gpu.launches[f"{name}(device)"] += 1
        if cuda:
            return self._copied(f"{name}(device)", out, blocking=not non_blocking)
        if not non_blocking:
            self._gpu.wait(f"{name} to the CPU")
        return _clone(out)

    def _copied(self, what: str, tensor: Tensor, *, blocking: bool) -> Tensor:
        """Return a copy on the GPU of a tensor that is on the CPU."""
        if blocking and tensor.numel():
            self._gpu.copy(what)
        copied = _clone(tensor)
        _mark(copied)
        return copied


def _clone(tensor: Tensor) -> Tensor:
    with torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch():
        return tensor.clone()


def _caller() -> str:
    """Return the innermost line of this project that is under way, and the library's below it."""
    frame: FrameType | None = sys._getframe(2)
    library = ""
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(_PROJECT) and "site-packages" not in path.parts:
            if path != _OWN:
                return f"{path.relative_to(_PROJECT)}:{frame.f_lineno}{library}"
        elif not library and "transformers" in path.parts:
            library = f" > {path.name}:{frame.f_lineno}"
        frame = frame.f_back
    return "no line of this project"
