"""Digests of our own source code, for results that must not outlive the code they came from."""

import hashlib
import inspect
from pathlib import Path
from types import ModuleType


def source_digest(*modules: ModuleType) -> str:
    """SHA-256 over the source files of modules, and of packages with all files in their folder."""
    digest = hashlib.sha256()
    for module in modules:
        file = Path(inspect.getfile(module))
        files = sorted(file.parent.glob("*.py")) if file.name == "__init__.py" else [file]
        for path in files:
            digest.update(f"{module.__name__}/{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()
