"""Runs an example without a key or a network, against a small model server on loopback.

    python examples/offline.py python examples/react_agent.py
    python examples/offline.py spanloom run examples/react_agent.py

The command gets an environment in which OpenAI clients find that server; with a key of your own, run it without this.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from scripted_replies import respond

from spanloom.demo.server import ModelServer


def main(command: list[str]) -> int:
    if not command:
        print("usage: python examples/offline.py COMMAND...", file=sys.stderr)
        return 2
    # `python` and `spanloom` are those of this environment, also when it has not been activated.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    program = shutil.which(command[0], path=path)
    if program is None:
        print(f"offline: there is no command {command[0]}", file=sys.stderr)
        return 127
    with ModelServer(respond) as server:
        environment = server.environment({**os.environ, "PATH": path})
        code = subprocess.run([program, *command[1:]], env=environment, check=False).returncode
    # A signal's number comes back negative; shells add it to 128.
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
