"""A registered model behind HTTP: requests, limits, a gallery."""
