"""Can people tell generated images from real ones? A page for people, their answers, and what they amount to."""
