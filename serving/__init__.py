"""Programs and assets around the served encoders."""
