"""One file per family of levels."""
