"""A server of TF Serving's gRPC and REST APIs over exported encoders."""
