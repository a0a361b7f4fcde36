"""What keeps a flow from running and is nobody's mistake."""


class ServerFailed(Exception):
    """The server of our own ended early or stayed silent; the message is one line and names its log."""
