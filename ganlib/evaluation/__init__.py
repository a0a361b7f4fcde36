"""How good a generator is, on which features, against which images, and how sure that is."""
