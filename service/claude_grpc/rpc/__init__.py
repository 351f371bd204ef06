"""Knows gRPC: the front, one servicer a proto service, what stands around every call, the status table."""
