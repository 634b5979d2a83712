"""The records of a run or session, and their CSV and Parquet files: written and read here, and nowhere else."""
