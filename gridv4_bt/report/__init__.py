"""The report of a run: page, pictures and terminal tables, and the comparison of runs."""
