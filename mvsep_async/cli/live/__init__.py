"""The display of running jobs: values, what they look like, and a thin driver."""
