"""A starter of threads for tests of what uses one."""

import logging

from streamcell.runtime.threads.starter import ThreadStarter

# Nothing is refused here, so nothing is tried again.
STARTER = ThreadStarter(lambda _attempt: None, logging.getLogger("test"))
