"""What an operator sees of the gateway."""
