"""Fitted sentence features of the two-branch system: tf-idf, mean word vector, Fisher vector; CCA."""
