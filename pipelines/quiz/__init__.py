"""Can people tell generated images from real ones?"""
