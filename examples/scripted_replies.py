"""What the model says to the examples when they run offline.

It sees what a real model sees and nothing else: messages, tool definitions, the schema of the answer. Its replies are
computed from these texts, so changed questions get answers too, within limits.
"""

from __future__ import annotations

import json
import re
from typing import Any

from spanloom.demo.replies import Failure, Reply, ToolCall, content_text

Json = dict[str, Any]

PARTS = ("chain", "cassette", "brake pads")
# What the model knows of words that a handbook would not use.
OTHER_WORDS = {"freezes": "winter", "far": "battery"}
HELPFUL = 2  # words in common


def respond(request: Json) -> Reply | Failure:
    """Answer one chat request, by the first words of its instructions."""
    messages: list[Json] = request["messages"]
    instructions = content_text(messages[0])
    rules = {
        "You stand at the counter": _counter,
        "You plan day trips": _supervisor,
        "You choose the route": _route_planner,
        "You order the lunch": _caterer,
        "Write a short letter": _letter,
        "Does the passage help": _grade,
        "Rewrite the question": _rewrite,
        "Answer from these passages": _answer,
        "You advise riders": _advise,
    }
    for opening, rule in rules.items():
        if instructions.startswith(opening):
            return rule(messages)
    return Failure(400, "The scripted model has no rule for this prompt.", param="messages")


# -- react_agent.py ---------------------------------------------------------------------------------------------------


def _counter(messages: list[Json]) -> Reply:
    questions = [index for index, message in enumerate(messages) if message["role"] == "user"]
    question = content_text(messages[questions[-1]])
    day = re.search(r"\b\w+day\b", question)
    if messages[-1]["role"] == "user":
        if day:
            return Reply(tool_calls=(ToolCall("free_hours", {"weekday": day.group()}),))
        wanted = [part for part in PARTS if part in question]
        return Reply(tool_calls=tuple(ToolCall("find_part", {"name": part}) for part in wanted))
    results = _results(messages[questions[-1] :])
    if day:
        hours = " or ".join(json.loads(results["free_hours"][0]))
        parts = " and ".join(part for part in PARTS if part in content_text(messages[questions[0]]))
        return Reply(f"Yes, on {day.group()} at {hours}: {parts} take about an hour.")
    prices = [float(price) for found in results["find_part"] for price in re.findall(r"[\d.]+(?= EUR)", found)]
    return Reply(f"{'; '.join(results['find_part'])}. That is {sum(prices):.2f} EUR together.")


# -- supervisor.py ----------------------------------------------------------------------------------------------------


def _supervisor(messages: list[Json]) -> Reply:
    results = _results(messages)
    for agent in ("route_planner", "caterer"):
        if f"ask_{agent}" not in results:
            return Reply(tool_calls=(ToolCall(f"ask_{agent}", {}),))
    said = [content_text(message) for message in messages if message["role"] == "assistant"]
    return Reply("The plan stands. " + " ".join(filter(None, said)))


def _route_planner(messages: list[Json]) -> Reply:
    found = _results(messages).get("find_routes")
    if found:
        return Reply(f"The route is {json.loads(found[0])[0]}.")
    return Reply(tool_calls=(ToolCall("find_routes", {"longest_km": _number(messages, r"(\d+) km")}),))


def _caterer(messages: list[Json]) -> Reply:
    found = _results(messages).get("lunch_price")
    if found:
        return Reply(f"Lunch is ordered, {found[0]}.")
    people = _number(messages, r"(\d+) people")
    return Reply(tool_calls=(ToolCall("lunch_price", {"menu": "pasta", "people": people}),))


# -- approval.py ------------------------------------------------------------------------------------------------------


def _letter(messages: list[Json]) -> Reply:
    instructions, case = map(content_text, messages)
    customer = case.partition("'s ")[0]
    wish = instructions.partition("Change it like this: ")[2]
    body = "We are sorry for the delay. " if "sorry" in wish or "apolog" in wish else ""
    body += "" if "short" in wish else "A wheel that we ordered comes later than we were told. "
    return Reply(f"Dear {customer},\n\n{body}Your bicycle will be ready on {case.split()[-1]}\n\nYour workshop")


# -- rag.py -----------------------------------------------------------------------------------------------------------


def _grade(messages: list[Json]) -> Reply:
    question, _, passage = content_text(messages[1]).partition("\nPassage: ")
    return Reply(json.dumps({"helps": _in_common(question, passage) >= HELPFUL}))


def _rewrite(messages: list[Json]) -> Reply:
    question = content_text(messages[1])
    return Reply(" ".join(["e-bike", *(other for word, other in OTHER_WORDS.items() if word in question)]))


def _answer(messages: list[Json]) -> Reply:
    passages, question = content_text(messages[0]).partition("\n")[2], content_text(messages[1])
    if passages == "(none)":
        return Reply("The handbook says nothing about that.")
    return Reply(max(re.split(r"(?<=\.)\s", passages), key=lambda sentence: _in_common(question, sentence)))


def _in_common(question: str, text: str) -> int:
    meant = " ".join([question, *(other for word, other in OTHER_WORDS.items() if word in question)])
    return len(_stems(meant) & _stems(text))


def _stems(text: str) -> set[str]:
    # Long words by their first letters: "tyre" and "tyres" are one.
    return {word[:4] for word in re.findall(r"[a-z]{4,}", text.lower())}


# -- streaming_fastapi.py ---------------------------------------------------------------------------------------------


def _advise(messages: list[Json]) -> Reply:
    halves = "half as far" if "winter" in content_text(messages[-1]) else "as far as the label says"
    return Reply(f"Count on {halves}. Keep the battery indoors overnight and start with the assistance on low.")


# -- reading a conversation -------------------------------------------------------------------------------------------


def _results(messages: list[Json]) -> dict[str, list[str]]:
    """What each tool has answered in these messages, in order."""
    called = {call["id"]: call["function"]["name"] for message in messages for call in message.get("tool_calls") or ()}
    found: dict[str, list[str]] = {}
    for message in messages:
        if message["role"] == "tool":
            found.setdefault(called[message["tool_call_id"]], []).append(content_text(message))
    return found


def _number(messages: list[Json], pattern: str) -> int:
    """The number that the first message of the user has at `pattern`."""
    wish = next(content_text(message) for message in messages if message["role"] == "user")
    found = re.search(pattern, wish)
    return int(found.group(1)) if found else 1
