"""`gan sweep`: a search over parameters, a training for each point that is tried."""
