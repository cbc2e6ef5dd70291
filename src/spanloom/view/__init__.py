"""Reading traces from OTLP/JSON lines files and showing them, without OpenTelemetry.

`show` is what `spanloom view` does; `reader`, `select` and `tree` are the way from bytes to trees.
"""

from spanloom.view.output import ViewOptions, show

__all__ = ["ViewOptions", "show"]
