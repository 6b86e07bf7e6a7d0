"""torch: exported modules and pickled tensors, walked and taken over."""
