"""The example of docs/writing-an-instrumentor.md is run as it stands there."""

import re
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "writing-an-instrumentor.md"


@pytest.mark.slow
def test_the_guides_instrumentor_passes_the_guides_test(workshop):
    *parts, test = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    workshop.write("toyflow.py", "class Task:\n    def work(self, text):\n        return text.upper()\n")
    workshop.write("toyflow-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: toyflow\nVersion: 1.0\n")
    workshop.write("toyflow_tracing.py", "\n".join(parts))
    call = "\ntest_a_task_is_a_span()\nprint('passed')\n"
    workshop.write("app.py", "import toyflow\nfrom toyflow_tracing import ToyflowInstrumentor\n" + test + call)
    assert workshop.plain("-W", "error", "app.py").behaviour == (0, "passed\n", "")
