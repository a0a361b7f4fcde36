"""The one exception for mistakes that a user can mend."""


class UserError(Exception):
    """A mistake in parameters, data or surroundings.

    The message is one line: the parameter or file, what was found, what was
    expected and how to mend it. Command lines print it without a traceback.
    """


class TrainingDiverged(UserError):
    """The training met a non-finite loss and stopped."""
