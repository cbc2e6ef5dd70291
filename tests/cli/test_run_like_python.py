"""`spanloom run` against plain Python: what a program sees of itself, and what its user sees of it, is the same."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SELF = """
import sys
print(__name__, __file__, __package__, __spec__ and (__spec__.name, __spec__.origin), __cached__)
print(sys.argv, sys.path, sys.flags, sys.executable, sys.orig_argv, sys.warnoptions, sys.modules["__main__"].__dict__
      is globals(), sys.prefix)
"""


def test_a_script_sees_what_it_sees_without_us(workshop):
    workshop.write("app.py", SELF)

    workshop.same("app.py", "one", "--two", "-m", "3 4")


def test_a_script_in_another_folder(workshop):
    workshop.write("deep/er/app.py", SELF + "import neighbour\nprint(neighbour.__file__)\n")
    workshop.write("deep/er/neighbour.py", "")

    workshop.same("deep/er/app.py")
    workshop.same(str(workshop.folder / "deep/er/app.py"))


@pytest.mark.parametrize(
    "arguments", [["--", "--flag"], ["--dir", "x", "--quiet"], ["-h"], ["a", "--", "--", "b"], [""], ["-"]]
)
def test_arguments_that_look_like_ours_are_the_programs(workshop, arguments):
    workshop.write("app.py", "import sys; print(sys.argv)")

    ran = workshop.same("app.py", *arguments)

    assert ran.out == f"{['app.py', *arguments]}\n"
    assert workshop.traced("--", "app.py", *arguments).out == ran.out


def test_a_module_and_a_package(workshop):
    workshop.write("single.py", SELF)
    workshop.write("pack/__init__.py", "print('init', __name__)")
    workshop.write("pack/__main__.py", "from . import part" + SELF)
    workshop.write("pack/part.py", "print(__name__)")

    for module in ("single", "pack", "pack.part"):
        workshop.same("-m", module, "-m", "--x")


def test_a_folder_and_a_zip_file(workshop):
    workshop.write("folder/__main__.py", SELF)
    with zipfile.ZipFile(workshop.folder / "app.pyz", "w") as archive:
        archive.writestr("__main__.py", SELF.replace("__file__", "'zipped'"))

    workshop.same("folder", "x")
    workshop.same("folder/")
    workshop.same("app.pyz", "x")


def test_a_program_on_standard_input(workshop):
    workshop.same("-", "one", stdin="import sys\nprint(sys.argv, __name__)\n")


def test_standard_input_reaches_the_program(workshop):
    workshop.write("app.py", "import sys\nfor line in sys.stdin: print(line.strip()[::-1], len(line))\n")

    assert workshop.same("app.py", stdin="abc\n" * 3 + "tail").out.endswith("liat 4\n")


def test_the_end_of_input_is_seen_by_an_interactive_program(workshop):
    workshop.write("app.py", "while True: print(repr(input('? ')))\n")

    ran = workshop.same("app.py", stdin="one\n")

    assert ran.out == "? 'one'\n? "
    assert ran.err.endswith("EOFError: EOF when reading a line\n")


def test_an_answer_is_seen_before_the_next_question(workshop):
    workshop.write("app.py", "while text := input(): print(text.upper(), flush=True)\n")

    with workshop.start(workshop.command("app.py"), stdin=subprocess.PIPE) as process:
        for text in ("one", "two"):
            print(text, file=process.stdin, flush=True)
            assert process.stdout.readline() == f"{text.upper()}\n"
        process.communicate("\n")

    assert process.returncode == 0


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("", 0),
        ("sys.exit(0)", 0),
        ("sys.exit(1)", 1),
        ("sys.exit(300)", 44),
        ("sys.exit('sorry')", 1),
        ("raise SystemExit", 0),
        ("os._exit(7)", 7),
        ("1 / 0", 1),
        ("raise KeyboardInterrupt", -2),
    ],
)
def test_exit_codes_output_and_tracebacks(hello, ending, code):
    start = "import os, sys\nprint('before', flush=True)\nfrom hello import flow\nflow.run({})\n"
    hello.write("app.py", f"{start}{ending}\n")
    plain, traced = hello.plain("app.py"), hello.traced("app.py")

    assert traced.behaviour == plain.behaviour
    assert traced.code == code
    assert len(hello.spans()) == 3
    assert bool(traced.said) == (ending != "os._exit(7)")


def test_a_traceback_through_a_traced_node_shows_the_programs_error(workshop):
    workshop.write(
        "app.py",
        """
        from pocketflow import Flow, Node
        class Bad(Node):
            def exec(self, _):
                raise ValueError("no such ticket") from KeyError("T-1")
        Flow(start=Bad()).run({})
        """,
    )
    plain, traced = workshop.plain("app.py"), workshop.traced("app.py")

    def of_the_program(err):
        return [line for line in err.splitlines() if "app.py" in line or not line.startswith(" ")]

    assert traced.code == plain.code == 1
    assert of_the_program(traced.err) == of_the_program(plain.err)


def test_a_syntax_error_and_a_missing_module_are_pythons_to_tell(workshop):
    workshop.write("app.py", "def f(:\n")
    workshop.write("folder/readme", "no __main__ here")

    assert workshop.same("app.py").code == 1
    assert workshop.same("-m", "no_such_module").code == 1
    assert workshop.same("folder").code == 1


def test_a_missing_program_is_one_line_and_2(workshop):
    ran = workshop.traced("nope.py")

    assert (ran.code, ran.out, ran.err) == (2, "", "")
    assert len(ran.said) == 1
    assert ran.said[0].startswith("spanloom: there is no program 'nope.py' here, and no such command on PATH")


def test_warnings_appear_as_without_us(hello):
    hello.write(
        "app.py",
        """
        import warnings
        from hello import flow
        def old(): warnings.warn("use new()", DeprecationWarning, stacklevel=2)
        old()
        warnings.warn("careful")
        flow.run({})
        """,
    )

    assert "use new()" in hello.same("app.py").err
    assert "use new()" in hello.same("app.py", env={"PYTHONWARNINGS": "error"}).err
    hello.same("app.py", env={"PYTHONWARNINGS": "ignore", "PYTHONDEVMODE": "1"})


def test_the_users_path_and_the_users_sitecustomize_stay(workshop):
    workshop.write("lib/sitecustomize.py", "import builtins; builtins.site = 'theirs'")
    workshop.write("lib/extra.py", "value = 42")
    workshop.write(
        "app.py", "import extra, sitecustomize, sys; print(extra.value, site, sitecustomize.__file__, sys.path)"
    )

    ran = workshop.same("app.py", env={"PYTHONPATH": str(workshop.folder / "lib")})

    assert ran.out.startswith("42 theirs ")


def test_a_users_sitecustomize_that_fails_fails_as_without_us(workshop):
    workshop.write("lib/sitecustomize.py", "import no_such_thing")
    workshop.write("app.py", "print('ran')")
    env = {"PYTHONPATH": str(workshop.folder / "lib")}
    plain, traced = workshop.plain("app.py", env=env), workshop.traced("app.py", env=env)

    assert (traced.code, traced.out) == (plain.code, plain.out) == (0, "ran\n")
    assert traced.err.splitlines()[-1] == plain.err.splitlines()[-1] or "no_such_thing" in traced.err


def test_the_local_copy_of_a_framework_is_the_one_that_runs_and_is_traced(hello, hello_spans):
    import pocketflow

    shutil.copy(pocketflow.__file__, hello.folder / "pocketflow.py")
    hello.write("app.py", "import pocketflow, hello; hello.flow.run({}); print(pocketflow.__file__)")

    ran = hello.same("app.py")

    assert ran.out == f"{hello.folder / 'pocketflow.py'}\n"
    assert hello.names() == hello_spans


@pytest.mark.parametrize("name", ["opentelemetry", "spanloom", "spanloom_jsonl", "wrapt", "config", "json", "logging"])
def test_a_local_file_named_like_a_part_of_ours_does_no_harm(hello, name):
    """What we need is imported before the script's folder is on the path."""
    hello.write(f"{name}.py", "mine = True\nfrom json import *\n" if name != "json" else "mine = True\n")
    hello.write("app.py", "print('ran')\n")

    ran = hello.same("app.py")

    assert ran.code == 0
    assert "no spans were recorded in this process" in ran.said[0]


def test_a_framework_that_the_program_never_imports_is_not_imported_for_it(workshop):
    """Its instrumentor is switched on when the program does; until then the program does not wait for it."""
    workshop.write("app.py", "import sys; print('openai' in sys.modules); import openai; print(openai.__file__)")

    ran = workshop.same("app.py")

    assert ran.out.startswith("False\n")
    assert "OpenAIInstrumentor" in ran.said[0]


def test_a_local_stand_in_for_a_framework_is_the_programs(workshop):
    workshop.write("openai.py", "mine = True")
    workshop.write("app.py", "import openai; print(openai.mine)")

    ran = workshop.same("app.py")

    assert ran.out == "True\n"
    assert "OpenAIInstrumentor" not in ran.said[0]


def test_commands_on_the_path_and_files_of_other_languages(hello, hello_spans):
    script = hello.write("bin/greet", f"#!{sys.executable}\nfrom hello import flow\nflow.run({{}})\nprint('hello')\n")
    shell = hello.write("other.sh", '#!/bin/sh\necho "shell $1"\nexec greet\n')
    for path in (script, shell):
        path.chmod(0o755)
    env = {"PATH": f"{script.parent}:{hello.env['PATH']}", "PYTHONPATH": str(hello.folder)}

    by_name = hello.traced("greet", env=env)
    by_shell = hello.traced("./other.sh", "x", env=env)

    assert (by_name.code, by_name.out, by_name.err) == (0, "hello\n", "")
    assert (by_shell.code, by_shell.out, by_shell.err) == (0, "shell x\nhello\n", "")
    assert hello.names() == sorted(hello_spans * 2)


def test_commands_beside_our_python_need_no_activated_environment(workshop):
    if sys.prefix == sys.base_prefix:
        pytest.skip("this Python is no virtual environment")
    ran = workshop.traced("pytest", "--version", env={"PATH": "/usr/bin:/bin"})

    assert (ran.code, ran.out.split()[0]) == (0, "pytest")
    assert Path(sys.executable).with_name("pytest").exists()


def test_a_command_that_is_no_python_goes_its_way(workshop):
    ran = workshop.traced("sh", "-c", 'echo "$0 $1"; exit 5', "a", "--b")

    assert ran.behaviour == (5, "a --b\n", "")


def test_a_child_with_another_python_runs_untraced_and_in_silence(workshop):
    """A Python without spanloom finds our `sitecustomize` on PYTHONPATH and must not stumble."""
    other = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    if sys.prefix == sys.base_prefix or not other.exists():
        pytest.skip("there is no second Python beside this virtual environment")
    workshop.write("app.py", f"import subprocess; print(subprocess.run([{str(other)!r}, '-S', '-c', 'print(1)']))")
    workshop.write("nosite.py", f"import subprocess; print(subprocess.run([{str(other)!r}, '-c', 'print(1)']))")

    workshop.same("app.py")
    workshop.same("nosite.py")
