"""Pairs of configurations one field apart: Triton loads the one and refuses the other, and so do we.

The unit tests hold them against our validator, the e2e tests against the real server.
"""

from __future__ import annotations

from tests.triton_pairs.ensembles import ENSEMBLES
from tests.triton_pairs.scheduling import BATCHING, SEQUENCES
from tests.triton_pairs.serving import BACKENDS, INSTANCES, LIFECYCLE
from tests.triton_pairs.tensors import TENSORS

PAIRS = [*TENSORS, *BATCHING, *SEQUENCES, *INSTANCES, *LIFECYCLE, *ENSEMBLES, *BACKENDS]
