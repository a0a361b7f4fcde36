"""What the files hold, one kind a file, with their layout, labels and rows."""
