"""`gan repeat`: recipes trained with several seeds each, and compared beyond what the seed does."""
