"""Networks without weights, for which a file has them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode


@contextmanager
def weightless() -> Iterator[None]:
    """Networks made inside have shapes only: `load_state_dict(…, assign=True)` brings the rest.

    Nothing is initialised: drawing shapes at random would import PyTorch's compiler, which takes two seconds.
    """
    with torch.device("meta"), _Uninitialised():
        yield


class _Uninitialised(TorchFunctionMode):
    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = dict(kwargs or {})
        if getattr(function, "__module__", None) == nn.init.__name__:
            return named["tensor"] if "tensor" in named else args[0]
        return function(*args, **named)
