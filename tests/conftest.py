"""What every test shares: how Hypothesis searches, here and in continuous integration."""

import os

from hypothesis import HealthCheck, settings

# A slow machine is no finding: pytest's own timeout is the only limit on time.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "default")
