"""What more pictures and more time would bring, from short trainings on some of the pictures."""
