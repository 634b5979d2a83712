"""The command lines. A bad value, file or combination ends with one line on stderr and exit code 2."""
