"""What is built from the source, and what it is installed with."""
