"""`python -m kitfox.cli` is the `kitfox` command."""

from kitfox.cli import main

main()
