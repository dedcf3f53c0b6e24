"""The programs that are raced, each in a process of its own."""
