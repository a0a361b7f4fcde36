"""`gan start`: from a folder of pictures to a project that is ready to run."""
