"""Audio files on disk: which files are songs, what their tags say, and which audio is the same."""
