"""The exception tree: every error the package raises on purpose is an `Error`."""


class Error(Exception):
    """Base class. The message names the file, what was expected, what was found and what to do."""


class InputError(Error):
    """An option, argument or array that cannot be used."""


class MetadataError(Error):
    """Metadata that are missing, contradict each other or do not belong to the data."""


class FormatError(Error):
    """A file that does not hold what its format promises."""


class ResourceError(Error):
    """The machine refused: no space, no permission, no memory."""
