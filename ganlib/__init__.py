"""A pure PyTorch library for generative adversarial networks on images."""
