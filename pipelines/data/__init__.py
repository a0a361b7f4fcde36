"""The user's side of data: `gan data add`, `check` and `show`."""
