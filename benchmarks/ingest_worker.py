"""One measurement: `python -m benchmarks.ingest_worker TASK`, the answer as JSON on the last line.

Modules are imported for the measurement that needs them: what they take in
memory counts.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any


def perform(task: dict[str, Any]) -> Any:
    """One measurement: `measure` names it, all else are its arguments."""
    arguments: dict[str, Any] = {name: value for name, value in task.items() if name != "measure"}
    arguments |= {name: Path(value) for name, value in arguments.items() if name in _PATHS}
    match task["measure"]:
        case "pack":
            from benchmarks.packers import pack_with

            return pack_with(**arguments)
        case "read":
            from benchmarks.readers import read_with

            return read_with(**arguments)
        case "index":
            from benchmarks.scaling import index_rows

            return index_rows(**arguments)
        case "near":
            from benchmarks.scaling import near_search

            return near_search(**arguments)
        case "permutation":
            from benchmarks.scaling import permutation

            return permutation(**arguments)
        case "shards":
            from benchmarks.scaling import many_shards

            return many_shards(**arguments)
        case measure:
            raise ValueError(f"{measure}: no such measurement")


_PATHS = ("images", "packed", "destination", "scratch")

if __name__ == "__main__":
    found = perform(json.loads(sys.argv[1]))
    print(json.dumps({"result": found, "processor_s": time.process_time()}))
