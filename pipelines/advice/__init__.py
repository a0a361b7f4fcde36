"""What pictures and a machine ask for: a look at both, the parameters that fit them, and what to expect."""
