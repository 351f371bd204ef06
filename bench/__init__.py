"""What the gateway costs, measured against the floor that grpcio sets and against its peers. Not shipped."""
