"""The gRPC door: grpcio's server, its pool, unary calls and streams."""
