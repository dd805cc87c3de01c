"""``python -m psishare.cli``: the command line without its installed script."""

from psishare.cli import main

main()
