"""What can go wrong while an image is built."""


class BuildFailed(Exception):
    """The image cannot be built; the text says which step failed, and in whose words."""
