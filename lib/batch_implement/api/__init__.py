"""Behind the library interface that scripts import."""
