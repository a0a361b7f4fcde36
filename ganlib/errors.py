"""How work ends when it does not end well."""


class UserError(Exception):
    """A mistake in parameters, data or surroundings.

    The message is a line for each mistake: the parameter or file, what was found, what was
    expected and how to mend it. Command lines print it without a traceback.
    """


class TrainingDiverged(UserError):
    """The training went wrong beyond what it may mend by itself, and stopped."""


class TrainingInterrupted(Exception):
    """The training was asked to stop and kept a checkpoint; running it again goes on from there."""


class ProcessesFailed(Exception):
    """Of several processes that train together one has gone. The message is one line; running again goes on."""
