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
_lock = threading.Lock()


def listen(listener: Listener) -> Callable[[], None]:
    """Have `listener` called with each scalar that `backward` is about to be called on; return what ends it.

    Roots that come with gradients of their own, as in recomputed activations, are no losses and are left out.
    """
    global _listeners
    with _lock:
        _listeners = (*_listeners, listener)
        if len(_listeners) == 1:
            for patch in _patches:
                patch.put()

    def end() -> None:
        global _listeners
        with _lock:
            at = _listeners.index(listener)
            _listeners = _listeners[:at] + _listeners[at + 1 :]
            for patch in () if _listeners else _patches:
                patch.take_back()

    return end


class _Patch:
    """A function of torch's that is replaced while somebody listens, and put back; made once, for it is so every step.

    Someone may have wrapped ours in the meantime: theirs stays, ours within it, and is not put around it again.
    """

    def __init__(self, owner: Any, name: str, wrapper: Callable[[Any], Any]) -> None:
        self._owner, self._name, self._wrapper = owner, name, wrapper
        self._original: Any = None
        self._wrapped: Any = None
        self._within = False

    def put(self) -> None:
        now = getattr(self._owner, self._name)
        if now is self._wrapped or (self._within and now is not self._original):
            return
        if now is not self._original:
            self._original, self._wrapped = now, functools.wraps(now)(self._wrapper(now))
        setattr(self._owner, self._name, self._wrapped)

    def take_back(self) -> None:
        self._within = getattr(self._owner, self._name) is not self._wrapped
        if not self._within:
            setattr(self._owner, self._name, self._original)


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


_patches = (_Patch(torch.autograd, "backward", _hearing), _Patch(torch.amp.GradScaler, "scale", _noting))
