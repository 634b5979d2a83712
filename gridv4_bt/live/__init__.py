"""Trading on the exchange: orders that exist once, a state that survives everything, and someone who watches."""
