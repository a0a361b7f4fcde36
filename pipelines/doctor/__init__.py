"""`gan doctor`: is everything here that a run needs? It looks, and changes nothing."""
