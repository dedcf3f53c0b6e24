"""What people look at: learning curves, the episode viewer, the report."""
