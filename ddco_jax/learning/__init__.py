"""Learning the collision kernel from molecular dynamics."""
