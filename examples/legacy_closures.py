"""An old program that hides everything in closures: a model of its own protocol, callbacks, generators.

The functions that do the work take no arguments and return nothing: what they need is in the variables around them.
A decorator that looked at arguments and results would record nothing; here each place tells what it knows. The model is
asked with the standard library alone, and its answer is a plain dict.

    python examples/offline.py spanloom run examples/legacy_closures.py      without a key or a network
    OPENAI_API_KEY=... spanloom run examples/legacy_closures.py              with a real model
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from urllib.request import Request, urlopen

import spanloom

URL = os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"
MODEL = os.environ.get("OPENAI_MODEL") or "gpt-4.1-mini"
LATE = ["Ann Weber: a wheel, ready on Friday.", "Ben Okafor: a fork, ready on Monday."]


def make_model(case: dict) -> Callable[[], None]:
    """A function that reads `case["prompt"]` and leaves the answer in `case["lines"]`."""

    def events(body: dict) -> Iterator[dict]:
        request = Request(  # noqa: S310  the user's own URL
            f"{URL}/chat/completions",
            json.dumps(body).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {os.environ.get('OPENAI_API_KEY', '')}"},
        )
        with urlopen(request) as response:  # noqa: S310
            for line in response:
                if line.startswith(b"data: {"):
                    yield json.loads(line[6:])

    def run() -> None:
        body = {
            "model": MODEL,
            "messages": case["prompt"],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        with spanloom.chat(MODEL, provider="openai", stream=True) as call:
            call.input(case["prompt"])
            # Time to the first chunk, text and token counts are read as the chunks pass by.
            for event in call.stream(events(body)):
                for choice in event["choices"]:
                    case["text"] += choice["delta"].get("content") or ""

    return run


def make_pipeline(case: dict, done: Callable[[], None]) -> Callable[[], None]:
    def prepare() -> None:
        with spanloom.node("prepare") as step:
            wish = "Write a short letter: the bicycle comes later. Keep it short."
            case["prompt"] = [{"role": "system", "content": wish}, {"role": "user", "content": case["line"]}]
            step.output(case["prompt"])

    def finish() -> None:
        with spanloom.node("finish") as step:
            case["lines"] = [line for line in case["text"].splitlines() if line]
            step.set("letters.lines", len(case["lines"]))
            done()

    steps = [prepare, make_model(case), finish]

    def run() -> None:
        with spanloom.workflow("letters") as workflow:
            workflow.input(case["line"])
            for step in steps:
                step()
            workflow.output(case["lines"])

    return run


def main() -> None:
    for line in LATE:
        case = {"line": line.replace(": a", "'s bicycle needs a"), "text": ""}

        def done(case: dict = case) -> None:
            print(" / ".join(case["lines"]))

        with spanloom.session(user_id=line.partition(":")[0]):
            make_pipeline(case, done)()


if __name__ == "__main__":
    main()
