"""Features of images, and what is measured on them."""
