"""grpc, imported with the environment that it needs. All modules that use grpc take it from here.

grpc reads both variables once, when it is imported. What the application has set stays.
"""

from __future__ import annotations

import os

# With fork support on, a forked child that never touches grpc crashed 6 times out of 20.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
# grpc writes to stderr what it also reports as errors.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc
from grpc import aio

__all__ = ["aio", "grpc"]
