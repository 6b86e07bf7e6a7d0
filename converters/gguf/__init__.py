"""GGUF: the container and its vocabularies."""
