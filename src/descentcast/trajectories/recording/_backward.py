"""The losses that `backward` is called on, seen without a change to the loop that calls it.

torch has no hook for this, so `torch.autograd.backward`, which `Tensor.backward` ends in, is wrapped for as long as
somebody listens; so is `GradScaler.scale`, which hides the loss behind a factor.
"""

import functools
import threading
from collections.abc import Callable
from typing import Any

import torch

Listener = Callable[[torch.Tensor], None]

UNSCALED = "_descentcast_unscaled"

_listeners: tuple[Listener, ...] = ()  # Replaced, never changed: who walks over it needs no lock.
_scaled = False  # Whether a factor may hide a loss: only then a loss is asked for what it was before.
_restore: list[Callable[[], None]] = []
_lock = threading.Lock()


def listen(listener: Listener) -> Callable[[], None]:
    """Have `listener` called with each scalar that `backward` is about to be called on; return what ends it.

    Roots that come with gradients of their own, as in recomputed activations, are no losses and are left out.
    """
    global _listeners
    with _lock:
        _listeners = (*_listeners, listener)
        if len(_listeners) == 1:
            _restore.extend(
                [_wrap(torch.autograd, "backward", _hearing), _wrap(torch.amp.GradScaler, "scale", _noting)]
            )

    def end() -> None:
        global _listeners
        with _lock:
            at = _listeners.index(listener)
            _listeners = _listeners[:at] + _listeners[at + 1 :]
            while not _listeners and _restore:
                _restore.pop()()

    return end


def _wrap(owner: Any, name: str, wrapper: Callable[[Any], Any]) -> Callable[[], None]:
    original = getattr(owner, name)
    wrapped = functools.wraps(original)(wrapper(original))
    setattr(owner, name, wrapped)

    def restore() -> None:
        if getattr(owner, name) is wrapped:  # Someone may have wrapped it again: theirs stays.
            setattr(owner, name, original)

    return restore


def _hearing(original: Any) -> Any:
    def backward(tensors: Any, grad_tensors: Any = None, *rest: Any, **options: Any) -> Any:
        if grad_tensors is None:
            for root in (tensors,) if isinstance(tensors, torch.Tensor) else tensors if _is_list(tensors) else ():
                if isinstance(root, torch.Tensor) and root.numel() == 1:
                    loss = getattr(root, UNSCALED, root) if _scaled else root
                    for listener in _listeners:
                        listener(loss)
        return original(tensors, grad_tensors, *rest, **options)

    return backward


def _noting(original: Any) -> Any:
    def scale(self: Any, outputs: Any) -> Any:
        global _scaled
        _scaled = True
        scaled = original(self, outputs)
        if scaled is not outputs and isinstance(scaled, torch.Tensor):
            setattr(scaled, UNSCALED, outputs.detach())
        elif scaled is not outputs and _is_list(scaled):
            for after, before in zip(scaled, outputs, strict=True):
                if isinstance(after, torch.Tensor):
                    setattr(after, UNSCALED, before.detach())
        return scaled

    return scale


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)
