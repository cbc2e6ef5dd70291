"""Any value at all comes out as bounded, valid JSON, and none of the program's code is run for it."""

import array
import asyncio
import builtins
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import io
import json
import math
import pathlib
import re
import sys
import threading
import types
import unittest.mock
import uuid
import weakref
import zoneinfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spanloom.capture import Capture
from spanloom.config import Config

ExceptionGroup = getattr(builtins, "ExceptionGroup", None)  # since 3.11
CAPTURE = Capture(Config(content=True))


def captured(value, limit=None):
    """What a reader of the attribute sees; checks that it is JSON, encodable and within its bound."""
    text = CAPTURE.json(value, limit)
    assert len(text.encode("utf-8")) <= (limit or CAPTURE.limit)
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


# -- plain values -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        False,
        0,
        -1,
        2**63 - 1,
        -(2**63),
        0.5,
        -0.0,
        1e300,
        5e-324,
        "",
        "é𝄞 \u2028\x00\x7f",
        [],
        {},
        [[]],
        {"a": {}},
    ],
)
def test_json_values_stay_what_they_are(value):
    assert captured(value) == value
    assert math.copysign(1, captured(-0.0)) == -1


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        ("a\ud800b", "a?b"),
        ("\udcff", "?"),
        (2**63, str(2**63)),
        (-(2**63) - 1, str(-(2**63) - 1)),
        (1 << 5000, "<integer of 5001 bits>"),
        (-(1 << 10_000_000), "<integer of 10000001 bits>"),
        (b"\xff\x00", "<2 bytes>"),
        (bytearray(5), "<5 bytes>"),
        (memoryview(array.array("i", [1, 2])), "<8 bytes>"),
        ((1, "a"), [1, "a"]),
        ({1}, [1]),
        (frozenset({None}), [None]),
        (collections.deque([1, 2], maxlen=5), [1, 2]),
        (collections.OrderedDict(a=1), {"a": 1}),
        (collections.defaultdict(list, a=[1]), {"a": [1]}),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (collections.ChainMap({"a": 1}, {"b": 2}), {"<type>": "collections.ChainMap", "maps": [{"a": 1}, {"b": 2}]}),
        (collections.UserDict(a=1), {"<type>": "collections.UserDict", "data": {"a": 1}}),
        (dt.date(2024, 7, 18), "2024-07-18"),
        (dt.datetime(2024, 7, 18, 1, 2, 3), "2024-07-18 01:02:03"),
        (dt.datetime(2024, 7, 18, tzinfo=dt.timezone.utc), "2024-07-18 00:00:00+00:00"),
        (dt.datetime(2024, 7, 18, tzinfo=zoneinfo.ZoneInfo("UTC")), "2024-07-18 00:00:00+00:00"),
        (dt.time(1, 2), "01:02:00"),
        (dt.timedelta(days=1, seconds=5), "1 day, 0:00:05"),
        (decimal.Decimal("1.10"), "1.10"),
        (decimal.Decimal("sNaN"), "sNaN"),
        (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (pathlib.Path("a/b"), "a/b"),
        (pathlib.PureWindowsPath("a\\b"), "a\\b"),
        (1 + 2j, "(1+2j)"),
        (range(1, 5), "range(1, 5)"),
        (..., "Ellipsis"),
        (NotImplemented, "NotImplemented"),
        (len, "<builtin_function_or_method len>"),
        (json.dumps, "<function dumps>"),
        (json, "<module json>"),
        (dict, "<type dict>"),
        (pathlib.Path("x").exists, "<method exists>"),
        (fractions.Fraction(1, 3), "<fractions.Fraction>"),
        (re.compile("x"), "<re.Pattern>"),
        (iter([1]), "<builtins.list_iterator>"),
        (object(), "<builtins.object>"),
        (KeyError("k", 1), {"type": "builtins.KeyError", "args": ["k", 1]}),
        (types.SimpleNamespace(a=1, _b=2), {"<type>": "types.SimpleNamespace", "a": 1}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_values(value, seen):
    assert captured(value) == seen
    assert captured({"x": [value]}) == {"x": [seen]}


def test_a_released_memoryview():
    view = memoryview(b"abc")
    view.release()
    assert captured([view, 1]) == ["<released memoryview>", 1]


def test_what_has_no_text():
    unfilled = object.__new__(uuid.UUID)
    assert captured([unfilled, range(10**5000), 1]) == ["<uuid.UUID>", "<builtins.range>", 1]


class Colour(enum.Enum):
    RED = "red"
    BOTH = ("red", 1)


class Level(enum.IntEnum):
    HIGH = 3


class Word(str, enum.Enum):
    YES = "yes"


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


def test_enums():
    assert captured([Colour.RED, Colour.BOTH, Level.HIGH, Word.YES]) == ["red", ["red", 1], 3, "yes"]
    assert captured(Rights.READ | Rights.WRITE) == 3
    keys = {Colour.RED: 1, Level.HIGH: 2, Word.YES: 3, Rights.READ: 4}
    assert captured(keys) == {"RED": 1, "HIGH": 2, "yes": 3, "READ": 4}
    (name,) = captured({Rights.READ | Rights.WRITE: 5})  # a combination has a name only since 3.11
    assert name in ("READ|WRITE", f"<{__name__}.Rights>")
    assert len(captured({Rights(0): 6})) == 1


class Point(collections.namedtuple("Point", "x y")):
    __slots__ = ()


@dataclasses.dataclass
class Data:
    a: int
    b: list = dataclasses.field(default_factory=list)
    _c: int = 3


class Slots:
    __slots__ = ("__private", "a", "b")

    def __init__(self):
        self.a = 1
        self.__private = 2


class MoreSlots(Slots):
    def __init__(self):
        super().__init__()
        self.c = 3


def test_objects():
    here = __name__
    assert captured(Point(1, 2)) == [1, 2]
    assert captured(Data(1, [2])) == {"<type>": f"{here}.Data", "a": 1, "b": [2]}
    assert captured(Slots()) == {"<type>": f"{here}.Slots", "a": 1}  # b was never filled
    assert captured(MoreSlots()) == {"<type>": f"{here}.MoreSlots", "a": 1, "c": 3}
    assert captured(Data) == "<type Data>"


def test_pydantic_models():
    pydantic = pytest.importorskip("pydantic")

    class Model(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="allow")
        text: str
        key: pydantic.SecretStr
        password: str

        @pydantic.computed_field
        @property
        def computed(self) -> str:
            raise AssertionError("run")

        @pydantic.model_serializer
        def serialised(self):
            raise AssertionError("run")

    shown = captured(Model(text="t", key="hidden", password="hidden", more=1))
    assert shown["text"] == "t"
    assert shown["password"] == "[REDACTED]"
    assert "hidden" not in json.dumps(shown)


# -- no code of the program's -----------------------------------------------------------------------------------

HOOKS = [
    "__repr__", "__str__", "__format__", "__bytes__", "__bool__", "__len__", "__iter__", "__next__", "__contains__",
    "__getitem__", "__eq__", "__ne__", "__lt__", "__hash__", "__int__", "__index__", "__float__", "__complex__",
    "__getattr__", "__getattribute__", "__dir__", "__call__", "__reduce__", "__reduce_ex__", "__getstate__",
    "__copy__", "__deepcopy__", "__sizeof__", "__length_hint__", "__reversed__", "__missing__", "__instancecheck__",
    "keys", "items", "values", "get", "copy", "isoformat", "encode", "decode", "as_tuple", "to_dict", "model_dump",
]  # fmt: skip


class Ran(BaseException):
    """Code of the program's was run."""


def hooked(bases, kind=type, extra=()):
    """A class all of whose hooks raise."""

    def raising(name):
        def hook(*args, **kwargs):
            raise Ran(name)

        return hook

    names = [name for name in HOOKS if name not in ("__hash__",)] + list(extra)
    space = {name: raising(name) for name in names}
    space |= {
        "__hash__": object.__hash__,
        "prop": property(raising("prop")),
        "__module__": "mine",
        "__qualname__": "Evil",
    }
    space["__class__"] = property(raising("__class__"))
    return kind("Evil", bases, space)


@pytest.mark.parametrize(
    ("bases", "args", "seen"),
    [
        ((), (), "<mine.Evil>"),
        ((dict,), ({"a": 1},), {"a": 1}),
        ((list,), ([1, 2],), [1, 2]),
        ((tuple,), ((1, 2),), [1, 2]),
        ((set,), ({1},), [1]),
        ((frozenset,), ({1},), [1]),
        ((collections.deque,), ([1],), [1]),
        ((collections.OrderedDict,), (), {}),
        ((str,), ("text",), "text"),
        ((int,), (7,), 7),
        ((float,), (0.5,), 0.5),
        ((bytes,), (b"ab",), "<2 bytes>"),
        ((bytearray,), (b"ab",), "<2 bytes>"),
        ((Exception,), ("m",), {"type": "mine.Evil", "args": ["m"]}),
        ((dt.datetime,), (2024, 7, 18), "2024-07-18 00:00:00"),
        ((dt.date,), (2024, 7, 18), "2024-07-18"),
        ((dt.timedelta,), (1,), "1 day, 0:00:00"),
        ((decimal.Decimal,), ("1.5",), "1.5"),
        ((complex,), (1, 2), "(1+2j)"),
        ((types.ModuleType,), ("evil",), "<Evil evil>"),
        ((uuid.UUID,), (), None),
        ((pathlib.PurePosixPath,), (), None),
        ((io.StringIO,), (), "<mine.Evil>"),
        ((threading.Thread,), (), None),
    ],
    ids=lambda value: getattr(value[0], "__name__", "object") if isinstance(value, tuple) and value else None,
)
def test_hooks_of_a_class_are_never_called(bases, args, seen):
    cls = hooked(bases)
    base = bases[0] if bases else object
    made_by = object if base in (uuid.UUID, pathlib.PurePosixPath) else base
    value = made_by.__new__(cls, *args)
    if base in (dict, list, set, collections.deque, bytearray, types.ModuleType):
        base.__init__(value, *args)
    shown = captured([value, 1])
    assert shown[1] == 1
    if seen is not None:
        assert shown[0] == seen
    assert captured({"k": value}) == {"k": shown[0]}
    assert len(captured({value: 1})) == 1  # as a key
    assert captured(cls) == "<type Evil>"


class Meta(type):
    """A metaclass that answers nothing."""

    def __getattribute__(cls, name):
        raise Ran(name)

    def __instancecheck__(cls, other):
        raise Ran("__instancecheck__")

    def __subclasscheck__(cls, other):
        raise Ran("__subclasscheck__")

    def __repr__(cls):
        raise Ran("__repr__")

    def __hash__(cls):
        raise Ran("__hash__")

    def __eq__(cls, other):
        raise Ran("__eq__")


def test_metaclasses_are_never_asked():
    class Odd(metaclass=Meta):
        __module__ = "mine"
        __qualname__ = "Odd"

    class OddList(list, metaclass=Meta):
        pass

    class Shown(type):
        __module__ = property(lambda cls: pytest.fail("run"))
        __name__ = property(lambda cls: pytest.fail("run"))
        __mro__ = property(lambda cls: pytest.fail("run"))
        __dict__ = property(lambda cls: pytest.fail("run"))

    class Sly(metaclass=Shown):
        pass

    sly = Sly()
    object.__setattr__(sly, "field", 1)
    assert captured([object.__new__(Odd), OddList([1]), Odd]) == ["<mine.Odd>", [1], "<Meta Odd>"]
    assert captured(sly)["field"] == 1


def test_a_class_that_lies_about_its_module():
    class Liar:
        __module__ = property(lambda self: pytest.fail("run"))

    assert captured(Liar()) == "<test_a_class_that_lies_about_its_module.<locals>.Liar>"


def test_a_class_that_defines_dict_itself():
    class Proxy:
        def __init__(self):
            object.__setattr__(self, "own", 1)

        @property
        def __dict__(self):
            raise Ran("__dict__")

        def __getattr__(self, name):
            raise Ran(name)

    class Slotted:
        __slots__ = ()
        __dict__ = property(lambda self: pytest.fail("run"))

    assert captured(Proxy()) in (
        {"<type>": f"{__name__}.test_a_class_that_defines_dict_itself.<locals>.Proxy", "own": 1},
        f"<{__name__}.test_a_class_that_defines_dict_itself.<locals>.Proxy>",
    )
    assert captured(Slotted()) == f"<{__name__}.test_a_class_that_defines_dict_itself.<locals>.Slotted>"


def test_slots_that_are_an_iterator_are_left_alone():
    class Names:
        asked = 0

        def __iter__(self):
            Names.asked += 1
            return iter(("a",))

    class Odd:
        __slots__ = Names()

    value = Odd()
    value.a = 1
    Names.asked = 0
    assert captured(value)["a"] == 1
    assert Names.asked == 0


def test_a_foreign_time_zone_is_not_asked():
    class Zone(dt.tzinfo):
        def utcoffset(self, _):
            raise Ran("utcoffset")

        tzname = dst = utcoffset

    moment = dt.datetime(2024, 7, 18, tzinfo=Zone())
    assert captured([moment, moment.time(), moment.timetz(), 1]) == [
        "<datetime.datetime>",
        "00:00:00",
        "<datetime.time>",
        1,
    ]


def test_mocks():
    mock = unittest.mock.MagicMock(spec=dict, name="m")
    captured([unittest.mock.Mock(), mock, unittest.mock.AsyncMock(), unittest.mock.create_autospec(Data)])
    assert mock.mock_calls == []


def test_nothing_is_consumed():
    steps = []

    def generator():
        steps.append("run")
        yield 1

    async def coroutine():
        steps.append("run")

    async def async_generator():
        steps.append("run")
        yield 1

    running = coroutine()
    values = [
        generator(), running, async_generator(), iter([1]), map(steps.append, [1]), zip([1]), open(__file__),
        threading.Lock(), threading.local(), functools.partial(steps.append, 1), functools.lru_cache(steps.append),
        weakref.ref(Data(1)), asyncio.Event(), io.BytesIO(b"x"), sys,
        sys._getframe(), types.MappingProxyType({"a": 1}), {}.items(), slice(1), property(), staticmethod(len),
    ]  # fmt: skip
    shown = captured(values)
    assert steps == []
    assert len(shown) == len(values)
    assert shown[0] == "<builtins.generator>"
    assert next(values[3]) == 1
    assert values[6].read(3) == '"""'
    values[6].close()
    running.close()


def test_a_lazy_module_is_not_loaded():
    class Lazy(types.ModuleType):
        def __getattribute__(self, name):
            raise Ran(name)

    assert captured(Lazy("lazy")) == "<Lazy lazy>"


# -- structure --------------------------------------------------------------------------------------------------


def test_cycles_and_shared_values():
    shared = [1]
    loop = {"twice": [shared, shared]}
    loop["self"] = loop
    loop["list"] = [loop]
    assert captured(loop) == {"twice": [[1], [1]], "self": "<cycle>", "list": ["<cycle>"]}

    data = Data(1)
    data.b = [data]
    assert captured(data)["b"] == ["<cycle>"]

    error = ValueError()
    error.args = (error,)
    assert captured(error)["args"] == ["<cycle>"]


def test_an_enum_of_a_cycle():
    class Odd(enum.Enum):
        MEMBER = []

    Odd.MEMBER.value.append(Odd.MEMBER)
    assert captured(Odd.MEMBER) == ["<cycle>"]


@pytest.mark.parametrize(
    "wrap", [lambda v: [v], lambda v: (v,), lambda v: {"a": v}, lambda v: types.SimpleNamespace(a=v)]
)
def test_great_depth(wrap):
    value = "leaf"
    for _ in range(100_000):
        value = wrap(value)
    assert "<too deep>" in json.dumps(captured(value))
    while not isinstance(value, str):  # taken apart by hand: not every Python frees such a chain
        value = value["a"] if isinstance(value, dict) else value.a if hasattr(value, "a") else value[0]


def test_a_tree_that_doubles_at_each_level():
    value = []
    for _ in range(200):
        value = [value, value]
    captured(value)


def test_tuples_as_keys():
    assert captured({(1, "a", None): 1, (): 2, ((1, 2), 3): 3}) == {"1,a,None": 1, "": 2, "<builtins.tuple>,3": 3}


def test_keys_of_all_kinds():
    keys = {
        None: 1,
        True: 2,
        1.5: 3,
        b"by": 4,
        1 << 70: 5,
        1 << 9000: 6,
        dt.date(2024, 1, 1): 7,
        "a\ud800": 8,
        math.inf: 9,
    }
    assert captured(keys) == {
        "None": 1, "True": 2, "1.5": 3, "by": 4, str(1 << 70): 5, "<integer>": 6, "2024-01-01": 7, "a?": 8, "inf": 9,
    }  # fmt: skip


# -- bounds -----------------------------------------------------------------------------------------------------


def test_the_mark_of_a_cut():
    assert re.fullmatch(r"a+… 100000 chars", captured("a" * 100_000, 300))
    assert len(captured("a" * 100_000, 300)) == 300 - 4  # 2 quotes, and the dots are 3 bytes
    assert captured("é" * 200, 300).endswith("… 200 chars")
    assert captured("\x00" * 200, 300).endswith("… 200 chars")
    assert captured(list(range(1000)), 300)[-1] == f"… {1000 - len(captured(list(range(1000)), 300)) + 1} more"
    shown = captured({str(n): n for n in range(1000)}, 300)
    assert shown["…"] == f"{1000 - len(shown) + 1} more"
    assert captured([["x"] * 1000], 300)[0][-1].endswith(" more")


def test_what_fits_is_not_cut():
    for length in range(200, 254):
        assert captured("a" * length, 256) == "a" * length
    assert captured("a" * 255, 256).endswith("… 255 chars")
    assert captured("é" * 127, 256) == "é" * 127


def test_redaction_makes_a_value_fit():
    assert (
        captured("-----BEGIN PRIVATE KEY-----\n" + "MIIEvQIB\n" * 60 + "-----END PRIVATE KEY-----", 256) == "[REDACTED]"
    )


def test_keys_are_remembered_but_not_without_end():
    calls = []
    capture = Capture(Config(redactor=lambda text: (calls.append(text), text)[1]))
    for _ in range(3):
        assert json.loads(capture.json({"documents": 1, "password": 2, "x" * 63: 3})) == {
            "documents": 1,
            "password": "[REDACTED]",
            "x" * 63: 3,
        }
    assert [call for call in calls if call.isalpha()] == ["documents", "password", "x" * 63, "x" * 63, "x" * 63]
    for number in range(5000):
        capture.json({str(number): 0})
    assert len(capture._redactor.keys) <= 1024
    assert json.loads(capture.json({"documents": None, "password": None})) == {"documents": None, "password": None}


def test_long_keys():
    shown = captured({"k" * 10_000: 1, "é\ud800" * 10_000: 2})
    assert [key[-12:] for key in shown] == ["… 10000 chars"[-12:], "… 20000 chars"[-12:]]
    assert all(len(key.encode()) <= 256 for key in shown)


def test_the_walk_stops_where_the_room_ends():
    """Of ten million items, those that do not fit are not even looked at."""
    from spanloom import jsontext

    visits = []

    class Visiting(jsontext.Writer):
        __slots__ = ()

        def write(self, value, room, depth=0):
            visits.append(depth)
            return super().write(value, room, depth)

    huge = [0] * 10_000_000
    for value in (huge, {"a": huge, "b": huge}, [huge] * 1000, dict.fromkeys(range(100_000), huge), [[]] * 1_000_000):
        visits.clear()
        text = Visiting(CAPTURE._redactor, 1000).write(value, 1000)
        json.loads(text)
        assert len(visits) < 600


def test_the_redactor_is_shown_little_even_where_it_leaves_nothing():
    shown = []

    def shrinks(text):
        shown.append(len(text))
        return ""

    capture = Capture(Config(redactor=shrinks, max_value_bytes=1000))
    value = ["x" * 1000] * 10_000
    json.loads(capture.json(value))
    assert sum(shown) <= 40 * 1000


def test_a_huge_text_is_not_read_to_its_end():
    class Reading(str):
        __slots__ = ()

    seen = []
    capture = Capture(Config(redactor=lambda text: (seen.append(len(text)), text)[1]))
    capture.json("x" * 50_000_000)
    capture.json({"k": Reading("x" * 50_000_000)})
    assert max(seen) < 20_000


def test_a_limit_smaller_than_small():
    for limit in range(1, 70):
        text = CAPTURE.json({"a": ["x" * 100, {"b": 1}], "c": 2}, limit)
        json.loads(text)
        assert len(text.encode()) <= 64


# -- while others write -----------------------------------------------------------------------------------------


def test_a_container_changed_while_it_is_read():
    state = {"a": "first", "b": "second"}
    items = [{"nested": 1}]
    group = {1, 2}
    queue = collections.deque([1, 2])

    def change(text):
        if text in ("a", "first"):
            state[str(len(state))] = 1
        return text

    capture = Capture(Config(redactor=change))
    assert json.loads(capture.json(state)) == {"a": "first", "…": "changed while it was read"}

    capture = Capture(Config(redactor=lambda text: (queue.append(3), group.add(len(group) + 9), text)[2]))
    group.add("text")
    queue.appendleft("text")
    assert json.loads(capture.json(queue)) == ["text", "… changed while it was read"]
    assert "… changed while it was read" in json.loads(capture.json(group))
    assert json.loads(capture.json(items)) == [{"nested": 1}]


def test_threads_that_write_all_the_time():
    state = {"list": [], "dict": {}, "set": set()}
    stop = threading.Event()

    def write():
        number = 0
        while not stop.is_set():
            number += 1
            state["dict"][number % 50] = number
            state["dict"].pop((number * 7) % 50, None)
            state["set"].symmetric_difference_update({number % 30})
            state["list"].append(number)
            del state["list"][:-20]
            state[f"k{number % 10}"] = number
            state.pop(f"k{(number * 3) % 10}", None)

    threads = [threading.Thread(target=write) for _ in range(2)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    for thread in threads:
        thread.start()
    try:
        for _ in range(200):
            captured(state)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)


# -- anything ---------------------------------------------------------------------------------------------------

TEXTS = st.one_of(
    st.text(), st.text(st.characters(categories=["Cs", "Cc", "Lo", "So"])), st.text('"\\/\n\x00é𝄞', max_size=40)
)
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(1 << 4200), 1 << 4200), st.floats(), TEXTS, st.binary(),
    st.dates(), st.datetimes(), st.times(), st.timedeltas(), st.decimals(), st.uuids(), st.complex_numbers(),
    st.sampled_from(
        [Colour.BOTH, Level.HIGH, Word.YES, Rights.READ, Data(1), Slots(), Point(1, "x"), object(), len, json, Data,
         unittest.mock.Mock(), ..., range(3), Ran("x"), threading.Lock(), pathlib.Path("x"), hooked((dict,)).__mro__]
    ),
)  # fmt: skip
KEYS = st.one_of(
    TEXTS, st.integers(), st.floats(), st.booleans(), st.none(), st.binary(), st.tuples(TEXTS, st.integers())
)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner),
        st.lists(inner).map(tuple),
        st.lists(inner).map(collections.deque),
        st.dictionaries(KEYS, inner),
        st.dictionaries(KEYS, inner).map(collections.OrderedDict),
        inner.map(Data),
        inner.map(ValueError),
        inner.map(lambda value: types.SimpleNamespace(a=value)),
        st.tuples(inner, inner).map(lambda pair: Point(*pair)),
        st.lists(st.one_of(st.integers(), TEXTS)).map(frozenset),
    ),
    max_leaves=40,
)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(value=ANYTHING, limit=st.one_of(st.just(16_384), st.integers(256, 1200)))
def test_anything(value, limit):
    captured(value, limit)


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text('abc é\n"\\', max_size=20),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5), st.dictionaries(st.text('abcé"', max_size=8), inner, max_size=5)
    ),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=300, deadline=None, derandomize=True)
@given(value=JSON)
def test_json_values_come_out_whole(value):
    text = Capture(Config(content=True, redact=False, max_value_bytes=1 << 20)).json(value)
    assert json.loads(text) == value


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exception groups came with 3.11")
def test_exception_groups():
    group = ExceptionGroup("several", [ValueError("a"), ExceptionGroup("inner", [KeyError("k")])])
    assert captured(group) == {
        "type": "builtins.ExceptionGroup",
        "args": [
            "several",
            [
                {"type": "builtins.ValueError", "args": ["a"]},
                {"type": "builtins.ExceptionGroup", "args": ["inner", [{"type": "builtins.KeyError", "args": ["k"]}]]},
            ],
        ],
    }
