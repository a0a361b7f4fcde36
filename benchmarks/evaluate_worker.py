"""One measurement: `python -m benchmarks.evaluate_worker TASK`, the answer as JSON on the last line."""

import json
import sys
import time
from pathlib import Path
from typing import Any


def perform(task: dict[str, Any]) -> Any:
    """One measurement: `measure` names it, all else are its arguments."""
    match task["measure"]:
        case "score":
            from benchmarks.scorers import Case, score

            case = Case(Path(task["folder"]), task["kind"], Path(task["cache"]))
            return score(task["name"], case)
        case "parity":
            from benchmarks.parity import parity
            from benchmarks.scorers import Case

            return parity(Case(Path(task["folder"]), task["kind"], Path(task["cache"])))
        case "forward":
            from benchmarks.forward import forward_race

            return forward_race(Path(task["folder"]), rounds=task["rounds"], count=task["images"])
        case "bounds":
            from benchmarks.bounds import all_metrics

            return all_metrics(task["images"], task["dimensions"])
        case measure:
            raise ValueError(f"{measure}: no such measurement")


if __name__ == "__main__":
    found = perform(json.loads(sys.argv[1]))
    print(json.dumps({"result": found, "processor_s": time.process_time()}))
