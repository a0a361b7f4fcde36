"""Runs that start by themselves when the data have changed."""
