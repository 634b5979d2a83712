"""The whole strategy at the simulated exchange as one compiled function over arrays, for parameter sweeps."""
