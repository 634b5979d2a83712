"""Pure maths: numbers in, numbers out. No Backtrader, no I/O, no clock, nothing of the project."""
