"""What a user gives, checked and converted to what the graphs take."""
