"""ONNX: operators of a file become operations of the float graph, and back."""
