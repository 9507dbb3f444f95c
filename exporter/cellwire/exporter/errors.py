"""The exporter's errors.

ExporterError
    CorpusError     a text that cannot be trained on (empty, of another encoding, too short)
    RecipeError     a recipe that is not TOML, or has an invalid setting
    VectorsError    a file of word vectors that is broken, or lacks a word
    RunError        a run folder that is missing, half written, or already taken
    DeviceError     a device or a precision that this machine does not have
    TrainingError   a training that cannot continue (its loss is not finite)
    ParityError     an exported cell that differs from the trained model
    WeightsError    weights that cannot be rounded to the given format
    FileError       a file that cannot be written (no such folder, not allowed, disk full)

Each message says what is wrong and what to do next; the command line prints it and exits with 2.
"""


class ExporterError(Exception):
    """The base of all errors that the caller can correct."""


class CorpusError(ExporterError):
    """A text cannot be trained on."""


class RecipeError(ExporterError):
    """A recipe is invalid."""


class VectorsError(ExporterError):
    """A file of word vectors is invalid, or lacks a word."""


class RunError(ExporterError):
    """A run folder cannot be used."""


class DeviceError(ExporterError):
    """The machine lacks a device or a precision."""


class TrainingError(ExporterError):
    """A training cannot continue."""


class ParityError(ExporterError):
    """The exported cell differs from the trained model."""


class WeightsError(ExporterError):
    """Weights cannot be rounded to the given format."""


class FileError(ExporterError):
    """A file cannot be written."""
