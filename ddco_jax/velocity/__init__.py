"""What velocity space needs: differences, transforms, and one cell with its moments."""
