"""`python -m pipelines.cli` is `gan`."""

from pipelines.cli import main

main()
