"""Images back to the latents of a trained generator."""
