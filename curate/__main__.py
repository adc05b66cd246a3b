"""`python -m curate`: the same as the command `curate`."""

from curate.cli import main

main()
