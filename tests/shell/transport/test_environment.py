"""The environment that grpc is imported with. In processes of their own, since it is read once."""

import os
import subprocess
import sys

PRINT = "import os; print(os.environ['GRPC_ENABLE_FORK_SUPPORT'], os.environ['GRPC_VERBOSITY'])"


def run_python(program: str, **environment: str) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GRPC_")}
    return subprocess.run(
        [sys.executable, "-c", program],
        env=clean | environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


def test_grpc_is_imported_without_fork_support_and_quiet() -> None:
    assert run_python(f"import streamcell.transport.grpc.network; {PRINT}") == "0 NONE"


def test_what_the_application_has_set_stays() -> None:
    said = run_python(
        f"import streamcell.transport.grpc.environment; {PRINT}",
        GRPC_ENABLE_FORK_SUPPORT="1",
        GRPC_VERBOSITY="debug",
    )
    assert said == "1 debug"


def test_frames_are_encoded_without_grpc() -> None:
    program = "import sys, streamcell.transport.codec as _; print('grpc' in sys.modules)"
    assert run_python(program) == "False"
