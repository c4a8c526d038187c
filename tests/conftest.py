"""Settings for every test."""

from hypothesis import settings

# Machines that run tests are busy: how long an example takes says nothing.
settings.register_profile("steady", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("steady")
