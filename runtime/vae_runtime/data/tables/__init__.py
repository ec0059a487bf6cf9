"""Tables: CSV and Parquet files to arrays, with the choice of their columns."""
