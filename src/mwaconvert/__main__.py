"""python -m mwaconvert: the command, for processes that know their interpreter but not its folder of programs."""

from mwaconvert.cli.main import main

main()
