"""The exporter's errors.

ExporterError
    CorpusError     the text cannot be trained on (empty, not UTF-8, too short, one symbol)
    RecipeError     a recipe is not TOML, or has a setting that is not allowed
    VectorsError    a file of word vectors is broken, or lacks a word
    RunError        the run folder is missing, half written, or already taken
    DeviceError     the device or the precision asked for is not there
    TrainingError   training cannot go on (the loss is no longer a number)
    ParityError     the exported cell does not compute what the trained model does
    WeightsError    the cell's weights cannot be rounded as asked
    FileError       a file cannot be written (no such folder, not allowed, disk full)

Each message says what was wrong and what to do next; the command line prints it and exits with 2.
"""


class ExporterError(Exception):
    """The base of every error that is the caller's to mend."""


class CorpusError(ExporterError):
    """The text cannot be trained on."""


class RecipeError(ExporterError):
    """A recipe cannot be followed."""


class VectorsError(ExporterError):
    """The word vectors cannot be used as asked."""


class RunError(ExporterError):
    """The run folder cannot be used as asked."""


class DeviceError(ExporterError):
    """The machine cannot compute as asked."""


class TrainingError(ExporterError):
    """Training cannot go on."""


class ParityError(ExporterError):
    """The exported cell does not compute what the trained model does."""


class WeightsError(ExporterError):
    """The cell's weights cannot be rounded as asked."""


class FileError(ExporterError):
    """A file cannot be written."""
