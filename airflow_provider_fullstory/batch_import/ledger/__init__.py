"""What earlier tries have sent, and what this one does about it."""
