"""What makes jobs survive the process."""
