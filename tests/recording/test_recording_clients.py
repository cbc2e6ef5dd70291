"""Every answer in the fixtures is read alike as dicts, as plain objects and as the client's own objects."""

import pytest

from spanloom import recording


def read(case, told, call):
    """What the program would do with such an answer: record it, or let it stream past."""
    if not case.streamed:
        return recording.read(told[0], call)
    assembler = recording.Assembler(call)
    for chunk in told:
        assembler.add(chunk)
    return assembler.finish()


def check(desk, case, told):
    call = desk.call()

    assert read(case, told, call)

    assert desk.told(call) == (case.attributes, case.output)
    assert desk.status == case.status


def test_as_dicts(desk, case):
    check(desk, case, case.told)


def test_as_objects(desk, case, spaced):
    if case.name.startswith("bedrock") or case.name in ("ollama/error", "openai_like/openrouter_image"):
        pytest.skip("there are only dicts of these")
    check(desk, case, spaced(case.told))


def test_as_the_clients_objects(desk, typed_case):
    check(desk, typed_case, typed_case.real())


def test_without_content_the_facts_are_the_same(desk, case):
    call = desk.call(content=False)

    assert read(case, case.told, call)

    assert desk.told(call) == (case.attributes, [])


def test_a_stream_may_end_anywhere(desk, streamed_case):
    for length in range(len(streamed_case.told)):
        call = desk.call()

        read(streamed_case, streamed_case.told[:length], call)

        attributes, output = desk.told(call)
        assert set(attributes) <= {*streamed_case.attributes, "gen_ai.usage.output_tokens"}
        assert len(output) <= len(streamed_case.output)
