"""How real one image is: to the critic, to the features, and beside the training images."""
