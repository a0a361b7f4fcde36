"""`gan compare`: several runs side by side, and two generators as the gate compares them."""
