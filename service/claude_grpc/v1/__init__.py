"""Stubs of the proto package ``claude_grpc.v1``, made by ``make proto`` and never edited."""
