"""The Prefect half of the pipeline; nothing else imports Prefect."""

from pipelines import environment

# Prefect reads its switches when it is imported.
environment.apply()
