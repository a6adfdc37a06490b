"""One call to the service: what is asked, when it may go out, what came back."""
