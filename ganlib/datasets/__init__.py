"""From a folder or archive of images to packed, memory-mapped uint8 arrays."""
