"""What stands for CUDA graphs on a CPU: a tape of the operations that an iteration launched."""

from typing import Any

import torch
import torch.distributed as dist
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ganlib.training.graph import Run


class Tape(TorchDispatchMode):
    """Notes every operation, and what each tensor was before the first operation that changed it."""

    # Each would wait for the device, or copy from the host.
    FORBIDDEN = ("_local_scalar_dense", "lift_fresh", "nonzero")
    DRAWS = ("rand", "normal", "uniform")  # beside those of dropout

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, tuple[Any, ...], dict[str, Any], list[Any]]] = []
        self.before: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        assert not name.startswith(self.FORBIDDEN), f"{name} in an iteration that is to be captured"
        assert not name.startswith(self.DRAWS) or kwargs["generator"] is not None, f"{name} from no generator of ours"
        if func._schema.is_mutable or name == "native_batch_norm":  # which does not own up to its running statistics
            for tensor in tensors((args, kwargs)):
                self.before.setdefault(id(tensor), (tensor, tensor.clone()))
        results = func(*args, **kwargs)
        self.operations.append((func, args, kwargs, tensors(results)))
        return results

    def undo(self) -> None:
        for tensor, value in reversed(self.before.values()):
            tensor.copy_(value)

    def replay(self) -> None:
        for func, args, kwargs, results in self.operations:
            again = func(*args, **kwargs)
            if func.namespace == "c10d":  # an exchange between processes, and its handle
                dist.Work.unbox(again[-1]).wait()
            for noted, found in zip(results, tensors(again), strict=True):
                if noted.data_ptr() != found.data_ptr():  # else a view, or changed in place
                    noted.copy_(found)


def tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


class TapeRecorder:
    """What a CUDA graph does, on any device."""

    recorded = 0

    def aside(self, run: Run) -> None:
        run()

    def record(self, run: Run, random: torch.Generator) -> Run:
        type(self).recorded += 1
        with Tape() as tape:
            run()
        with torch.no_grad():
            tape.undo()
        return torch.no_grad()(tape.replay)
