"""A variational autoencoder: the generator decodes."""
