"""How a traced program ends: signals, sudden ends, forks and children. What had ended is on disk in each case."""

import os
import signal
import stat
import sys

import pytest

pytestmark = pytest.mark.slow

# Three spans are on disk when it says `ready`; then it waits inside a fourth, whose phases before have ended.
WAITING = """
import signal, sys
from pocketflow import Flow, Node
from hello import flow

class Wait(Node):
    def prep(self, shared):
        return 1
    def exec(self, _):
        print("ready", flush=True)
        signal.pause()

flow.run({})
Flow(start=Wait()).run({})
"""


def end_by(hello, command, number, source=WAITING):
    """Start, wait until it is ready, send a signal; returns the exit code and stderr."""
    hello.write("app.py", source)
    with hello.start(command) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            process.send_signal(number)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    return process.returncode, err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP])
def test_a_signal_ends_the_program_itself_and_what_had_ended_is_on_disk(hello, hello_spans, number):
    plain = end_by(hello, [sys.executable, "app.py"], number)
    traced = end_by(hello, hello.command("app.py"), number)

    assert traced == plain == (-number, "")
    assert hello.names() == sorted([*hello_spans, "prep Wait"])


def test_ctrl_c_ends_it_as_without_us_and_closes_the_open_spans(hello, attributes):
    plain_code, plain_err = end_by(hello, [sys.executable, "app.py"], signal.SIGINT)
    code, err = end_by(hello, hello.command("app.py"), signal.SIGINT)

    assert code == plain_code == -signal.SIGINT
    assert "\nKeyboardInterrupt\n" in err
    assert "\nKeyboardInterrupt\n" in plain_err
    flows = [span for span in hello.spans() if span["name"] == "invoke_workflow"]
    assert [attributes(span)["spanloom.status"] for span in flows] == ["cancelled"]
    assert err.splitlines()[-1].startswith("spanloom: 7 spans in .spanloom/")


def test_a_signal_handler_of_the_programs_own_runs(hello):
    source = WAITING.replace(
        "flow.run({})\nFlow", "signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\nflow.run({})\nFlow"
    )
    code, err = end_by(hello, hello.command("app.py"), signal.SIGTERM, source)

    assert code == 3
    assert err.splitlines()[0].startswith("spanloom: 7 spans in ")


def test_signal_handlers_and_threads_are_the_programs_own(workshop):
    workshop.write(
        "app.py",
        """
        import signal, threading
        for number in sorted(signal.valid_signals()):
            print(number, signal.getsignal(number))
        print([thread.name for thread in threading.enumerate()])
        """,
    )

    ran = workshop.same("app.py")

    assert "MainThread" in ran.out


@pytest.mark.parametrize("sudden", ["os._exit(7)", "os.kill(os.getpid(), signal.SIGKILL)", "os.abort()"])
def test_a_sudden_end_in_the_middle_of_a_flow(hello, hello_spans, sudden):
    hello.write(
        "app.py",
        f"""
        import os, signal
        from pocketflow import Flow, Node
        from hello import flow
        class End(Node):
            def exec(self, _):
                {sudden}
        flow.run({{}})
        Flow(start=End()).run({{}})
        """,
    )
    plain, traced = hello.plain("app.py"), hello.traced("app.py")

    assert traced.behaviour == plain.behaviour
    assert traced.said == []
    assert hello.names() == hello_spans


def test_a_fork_has_a_file_of_its_own_with_the_same_beginning(hello, hello_spans):
    hello.write(
        "app.py",
        """
        import os, sys
        from hello import flow
        flow.run({})
        child = os.fork()
        flow.run({})
        if child:
            print(os.waitpid(child, 0)[1])
        else:
            sys.exit(5)
        """,
    )
    ran = hello.same("app.py")

    first, second = sorted(hello.files(), key=lambda path: len(path.name))
    assert ran.out == f"{5 << 8}\n"
    assert ran.said[0].startswith(f"spanloom: 6 spans in .spanloom/{first.name} ")
    assert second.name.partition(".")[0] == first.name.partition(".")[0]
    assert hello.names() == sorted(hello_spans * 3)


def test_a_fork_inside_a_node_and_a_program_that_makes_itself_a_daemon(hello):
    """The parent leaves with `os._exit`, as daemons do; the child closes every descriptor and goes on."""
    hello.write(
        "app.py",
        """
        import os
        from pocketflow import Flow, Node
        class Detach(Node):
            def exec(self, _):
                if child := os.fork():
                    os.waitpid(child, 0)
                    os._exit(0)
                os.closerange(3, 64)
                return "child"
        flow = Flow(start=Detach())
        flow.run({})
        """,
    )
    plain, traced = hello.plain("app.py"), hello.traced("app.py")

    assert traced.behaviour == plain.behaviour
    assert hello.names() == ["exec Detach", "invoke_workflow", "run_step Detach"]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_children_are_traced_and_silent(hello, hello_spans, method):
    hello.write(
        "app.py",
        f"""
        import multiprocessing
        from hello import flow
        def work(number):
            flow.run({{}})
            return number * 2
        if __name__ == "__main__":
            context = multiprocessing.get_context({method!r})
            with context.Pool(2) as pool:
                print(pool.map(work, [1, 2, 3], chunksize=1))
                pool.close()
                pool.join()
            flow.run({{}})
        """,
    )
    env = {"PYTHONWARNINGS": "ignore"}  # of newer Pythons, about forking with threads

    ran = hello.same("app.py", env=env)

    assert ran.out == "[2, 4, 6]\n"
    assert ran.said[0].startswith("spanloom: 3 spans in ")
    assert hello.names() == sorted(hello_spans * 4)


def test_python_children_are_traced_into_the_same_folder(hello, hello_spans):
    hello.write("child.py", "from hello import flow\nflow.run({})\n")
    hello.write(
        "app.py",
        """
        import subprocess, sys
        subprocess.run([sys.executable, "../child.py"], cwd="elsewhere", check=True)
        """,
    )
    (hello.folder / "elsewhere").mkdir()

    traced = hello.same("app.py")

    assert traced.said[0].startswith("spanloom: no spans were recorded in this process ")
    assert hello.names() == hello_spans


def test_a_program_that_becomes_another_python_program(hello, hello_spans):
    hello.write("next.py", "from hello import flow\nflow.run({})\nprint('next')\n")
    hello.write(
        "app.py",
        "import os, sys\nfrom hello import flow\nflow.run({})\nos.execv(sys.executable, [sys.executable, 'next.py'])\n",
    )

    ran = hello.same("app.py")

    assert ran.out == "next\n"
    assert hello.names() == sorted(hello_spans * 2)


def test_a_program_that_changes_its_folder_leaves_its_traces_where_it_started(hello, hello_spans):
    (hello.folder / "sub").mkdir()
    hello.write("app.py", "import hello, os\nos.chdir('sub')\nhello.flow.run({})\n")

    ran = hello.same("app.py")

    assert hello.names() == hello_spans
    assert f"3 spans in .spanloom/{hello.files()[0].name} " in ran.said[0]


def test_a_program_that_closes_stderr_and_stdout(hello, hello_spans):
    hello.write(
        "app.py", "import os, sys\nfrom hello import flow\nflow.run({})\nsys.stderr.close()\nos.close(1)\nos.close(2)\n"
    )
    plain, traced = hello.plain("app.py"), hello.traced("app.py")

    assert traced.behaviour == plain.behaviour
    assert traced.said == []
    assert hello.names() == hello_spans


@pytest.mark.parametrize("code", [0, 3])
def test_nobody_reads_stderr(hello, hello_spans, code):
    """Python exits with 120 where it cannot flush stderr at its end; our line must not make it."""
    hello.write("app.py", f"import sys\nfrom hello import flow\nflow.run({{}})\nsys.exit({code})\n")
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with hello.start(hello.command("app.py"), stderr=writer) as process:
            process.communicate()
    finally:
        os.close(writer)

    assert process.returncode == code
    assert hello.names() == hello_spans


def test_a_program_that_is_started_without_stderr(hello, hello_spans):
    hello.write("app.py", "from hello import flow\nflow.run({})\nprint('done')\n")
    command = 'exec "$0" "$@" 2>&-'

    plain = hello.run(["sh", "-c", command, sys.executable, "app.py"])
    traced = hello.run(["sh", "-c", command, *hello.command("app.py")])

    assert traced.behaviour == plain.behaviour == (0, "done\n", "")
    assert traced.said == []
    assert hello.names() == hello_spans


def test_spans_that_end_at_exit_are_kept(hello, hello_spans):
    """The program's own `atexit` functions run before ours, which were registered first."""
    hello.write("app.py", "import atexit\nfrom hello import flow\natexit.register(flow.run, {})\n")

    ran = hello.same("app.py")

    assert hello.names() == hello_spans
    assert ran.said[0].startswith("spanloom: 3 spans in ")


def test_threads_that_outlive_the_main_thread(hello, hello_spans):
    hello.write(
        "app.py",
        """
        import threading
        from hello import flow
        def work():
            threading.main_thread().join()
            for _ in range(20):
                flow.run({})
        for _ in range(4):
            threading.Thread(target=work).start()
        """,
    )

    ran = hello.same("app.py")

    spans = hello.spans()
    assert sorted(span["name"] for span in spans) == sorted(hello_spans * 80)
    assert len({span["traceId"] for span in spans}) == 80
    assert ran.said[0].startswith("spanloom: 240 spans in ")


def test_the_files_are_the_users_alone(hello):
    hello.write("app.py", "import hello, os\nos.umask(0)\nhello.flow.run({})\n")

    hello.traced("app.py")

    (file,) = hello.files()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("obstacle", ["a file", "no rights"])
def test_a_folder_that_cannot_be_written_costs_the_trace_only(hello, obstacle):
    hello.write("app.py", "from hello import flow\nflow.run({})\nflow.run({})\nprint('done')\n")
    target = hello.folder / "traces"
    if obstacle == "a file":
        target.write_text("")
    elif os.geteuid():
        target.mkdir(mode=0o500)
    else:  # root may write anywhere but here
        target = "/proc/spanloom"
    ran = hello.traced("--dir", str(target), "app.py")

    assert (ran.code, ran.out) == (0, "done\n")
    warnings = ran.err.splitlines()
    assert len(warnings) == 1
    assert warnings[0].startswith(f"Cannot write {target}/")
    assert "set SPANLOOM_JSONL_DIR to another directory" in warnings[0]
    assert ran.said == [f"spanloom: 6 spans could not be written to {target} and are lost"]
