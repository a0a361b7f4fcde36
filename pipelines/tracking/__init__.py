"""Runs in MLflow: where the store is, what waits for it, and what is logged."""
