"""The recorder of a run, and the performance figures computed from its record."""
