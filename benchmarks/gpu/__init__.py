"""What only a GPU can settle, within ten minutes: `python -m benchmarks.gpu`."""
