"""The run of a step batch, from its start until its results are in the host's memory."""

from __future__ import annotations

from cellwire.server.batch.step import StepBatch, StepResult
from cellwire.server.errors import StepFailed
from cellwire.server.runtime.step_binding import StepBinding


class StartedStep:
    """A run that a binding has started."""

    def __init__(self, binding: StepBinding, batch: StepBatch) -> None:
        self._binding: StepBinding | None = binding
        self._rows = len(batch)
        self._top_tokens = bool(batch.top_token_count)
        self._result: StepResult | None = None
        self._failure = ""

    def finish(self) -> None:
        """Wait for the end, and keep the result or the failure. Harmless if that was done.

        The binding can run again then.
        """
        binding, self._binding = self._binding, None
        if binding is not None:
            try:
                binding.wait()
                self._result = binding.result(self._rows, top_tokens=self._top_tokens)
            except StepFailed as error:
                self._failure = str(error)  # its traceback would hold the binding

    def wait(self) -> StepResult:
        """Return the result; StepFailed."""
        self.finish()
        if self._result is None:
            raise StepFailed(self._failure)
        return self._result
