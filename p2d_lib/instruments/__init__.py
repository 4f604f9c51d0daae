"""What measures: pure functions of arrays and tables, without weights or paths, used by several rooms."""
