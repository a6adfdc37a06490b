"""How fast, and in how little memory, audio is moved."""
