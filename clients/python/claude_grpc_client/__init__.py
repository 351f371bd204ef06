"""A small idiomatic Python client for claude-grpc."""
