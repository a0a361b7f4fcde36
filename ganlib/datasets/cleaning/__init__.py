"""One image decoded, judged by the policies, repaired and fitted."""
