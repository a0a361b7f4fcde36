"""Many images by many workers into shards, and what only the whole set tells."""
