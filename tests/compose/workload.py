"""A program whose telemetry has something for every panel: runs, nodes, tools and models that work, fail, stream."""

import contextlib
import sys
import time

import spanloom

MODEL = "gpt-4o-mini"  # has a known price
LONG = "All work and no play makes Jack a dull boy. " * 460  # 20 KB


def answer():
    """A model's stream, as its client gives it."""
    for word in ("It ", "is ", "on ", "its ", "way."):
        time.sleep(0.002)
        yield {"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}], "model": MODEL}
    usage = {"prompt_tokens": 5000, "completion_tokens": 5, "total_tokens": 5005}
    yield {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "model": MODEL, "usage": usage}


@spanloom.tool("book", capture=True)
def book(order: int) -> str:
    if order % 2:
        raise RuntimeError(f"no truck for order {order}")
    return "booked"


@spanloom.workflow("orders")
def orders(order: int) -> None:
    with spanloom.node("read"), spanloom.chat(MODEL, provider="openai") as call:
        call.input([{"role": "user", "content": LONG}])
        call.output([{"role": "assistant", "content": f"This is order {order}."}])
        call.usage(input=4600, output=6)
        call.finish("stop")
    with spanloom.node("ship"):
        book(order)
    with spanloom.node("tell"), spanloom.chat(MODEL, provider="openai") as call:
        call.input("Where is it?")
        list(call.stream(answer()))
    with spanloom.node("look"), spanloom.chat(MODEL, provider="openai") as call:
        stream = call.stream(answer())
        next(stream)
        stream.close()  # somebody has seen enough


@spanloom.chat(MODEL, provider="openai")
def overloaded() -> None:
    raise ConnectionError("the model is overloaded")


for number in range(int(sys.argv[1])):
    with spanloom.session(conversation_id=f"order-{number}"), contextlib.suppress(RuntimeError):
        orders(number)
with contextlib.suppress(ConnectionError):
    overloaded()
