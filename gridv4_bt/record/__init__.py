"""Records of a run or session, and reading and writing their CSV and Parquet files."""
