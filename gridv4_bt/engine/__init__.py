"""What is held, what rests at the exchange, how it fills and when it is cut."""
