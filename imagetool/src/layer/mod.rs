//! Layers: tar streams in and out of directories.
