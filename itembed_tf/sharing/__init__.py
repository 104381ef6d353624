"""Exports at Hugging Face: which files they may have, what is checked before and after a transfer, push and pull."""

from itembed_tf.sharing.export_files import ShareError, check_name, check_repository
from itembed_tf.sharing.pull import Pulled, pull_export
from itembed_tf.sharing.push import Pushed, push_export

__all__ = ["Pulled", "Pushed", "ShareError", "check_name", "check_repository", "pull_export", "push_export"]
