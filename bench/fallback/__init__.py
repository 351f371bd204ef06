"""The programs that make the load, in Python, where Go is not installed."""
