"""How many class rows a replica has where they are shared out (`itembed_tf.models.class_rows`). No TensorFlow."""


def rows_of_share(classes: int, replicas: int) -> int:
    """Rows of each of so many replicas, ceil(C / R); the last share is filled up."""
    return -(-classes // replicas)
