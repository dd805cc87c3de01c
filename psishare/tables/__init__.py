"""Tables in and out: CSV, Parquet and Arrow as a stream of record batches; results written atomically.

Key columns are text, always: what a file holds as text is never read as a number. Errors name files,
columns and rows, never a value.
"""

from psishare.tables.result_file import ResultFile, write_matches
from psishare.tables.stamp import Stamp
from psishare.tables.table import Table, open_table

__all__ = ["ResultFile", "Stamp", "Table", "open_table", "write_matches"]
