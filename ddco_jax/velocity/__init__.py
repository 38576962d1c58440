"""What velocity space needs: differences and transforms."""
