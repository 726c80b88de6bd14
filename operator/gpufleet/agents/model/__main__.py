"""`python -m gpufleet.agents.model`, as pods run it: Triton waits for the key, and imports take a second."""

from __future__ import annotations

import os
import pathlib

from gpufleet.agents.model import key


def main() -> None:
    """Makes the key, then all the rest. Runs until SIGTERM."""
    key.ensure(pathlib.Path(os.environ.get(key.VARIABLE, key.PATH)))
    from gpufleet.agents.model import main as agent
    from gpufleet.agents.model import settings

    agent.run(settings.read(os.environ))


if __name__ == "__main__":
    main()
