"""The HTTP door: REST, Connect, gRPC-Web and the pages of health."""
