"""Where images are from: what is written into them, what is kept of them, and how they are recognised."""
