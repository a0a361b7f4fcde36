"""Networks that others have trained: where their weights come from, and how they take images."""
