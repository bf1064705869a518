"""Cache what was computed from parameters until their values change."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils.weak import WeakIdKeyDictionary

Result = TypeVar("Result")


def _fake_mode() -> object:
    """The mode of fake tensors, if it is on; private in torch, from 2.2 on."""
    return torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE)


class Snapshot(NamedTuple):
    """A source when it was used: on a CPU a copy of its values, elsewhere an alias and its version counter."""

    tensor: Tensor
    version: int | None


class Entry(NamedTuple):
    """One cached result, with what it was computed from."""

    key: Any
    sources: tuple[Snapshot | None, ...]
    result: Any


# not stored on the owners themselves, so that copying or pickling one does not take its entry along
_entries: WeakIdKeyDictionary = WeakIdKeyDictionary()


def cached(
    owner: object,
    sources: tuple[Tensor | None, ...],
    key: Any,
    compute: Callable[[], Result],
    by_version: bool = False,
) -> Result:
    """``compute()`` without gradients, or its last result for ``owner`` if key and sources have not changed since.

    On a CPU the sources, which are small, are compared by value, so that writes through ``.data`` count too. On other
    devices that would wait for the device: nothing is cached there, unless ``by_version`` allows comparing torch's
    version counters, which miss writes through ``.data``.
    """
    given = [source for source in sources if source is not None]
    if not all(map(is_ordinary, given)) or not all(is_on_cpu(s) or (by_version and _has_version(s)) for s in given):
        return compute()
    entry = _entries.get(owner)
    if entry is not None and entry.key == key and all(map(_is_unchanged, entry.sources, sources)):
        return entry.result
    with torch.inference_mode(False), torch.no_grad():
        snapshots = tuple(None if source is None else _snapshot(source) for source in sources)
        result = compute()
    _entries[owner] = Entry(key, snapshots, result)
    return result


def forget(owner: object) -> None:
    """Compute again at the next call."""
    _entries.pop(owner, None)


def is_readable(tensor: Tensor) -> bool:
    """Whether the values can be read at little cost: on the CPU, and not inside a transform or a trace."""
    return is_on_cpu(tensor) and is_ordinary(tensor)


def is_ordinary(tensor: Tensor) -> bool:
    """Whether this tensor has memory of its own: no subclass, such as a fake tensor, no wrapper of ``torch.func``.

    In ``FakeTensorMode`` none has: the values of real ones cannot be read there.
    """
    if type(tensor) not in (Tensor, torch.nn.Parameter) or _fake_mode() is not None:
        return False
    try:
        tensor.untyped_storage().data_ptr()
    except RuntimeError:  # what the wrappers of torch.func raise, of grad, vmap, jvp and functionalize
        return False
    return True


def is_transformed(*tensors: Tensor | None) -> bool:
    """Whether ``torch.func``, forward-mode differentiation or a tensor subclass needs torch's own operations."""
    given = [tensor for tensor in tensors if tensor is not None]
    if not all(map(is_ordinary, given)):
        return True
    return in_forward_mode() and any(forward_ad.unpack_dual(tensor).tangent is not None for tensor in given)


def in_forward_mode() -> bool:
    """Whether tensors may carry tangents; the level is private in torch, and asking each tensor is slow."""
    return getattr(forward_ad, "_current_level", 0) >= 0


def is_on_cpu(tensor: Tensor) -> bool:
    """Whether the values are in the CPU's own memory."""
    return tensor.device.type == "cpu"


def _has_version(tensor: Tensor) -> bool:
    capturing = tensor.is_cuda and torch.cuda.is_current_stream_capturing()  # a replayed graph would not check again
    return not tensor.is_inference() and not tensor.is_meta and not capturing


def _snapshot(source: Tensor) -> Snapshot:
    """The alias keeps the memory of a source from being given to another tensor."""
    alias = source.detach()
    return Snapshot(alias.clone(), None) if is_on_cpu(source) else Snapshot(alias, source._version)


def _is_unchanged(old: Snapshot | None, new: Tensor | None) -> bool:
    if old is None or new is None:
        return old is new
    if old.tensor.dtype != new.dtype or old.tensor.device != new.device:
        return False
    if old.version is None:
        return torch.equal(old.tensor, new)
    return (
        old.version == new._version
        and old.tensor.data_ptr() == new.data_ptr()
        and old.tensor.shape == new.shape
        and old.tensor.stride() == new.stride()
    )
