"""The control desk: it reads the state directories of bots, and writes commands into them; never the exchange."""
