"""`python -m gpufleet_sandbox` is `gpufleet sandbox` without the operator's command."""

from gpufleet_sandbox import cli

cli.main()
