"""The speed and memory of uploads and downloads."""
