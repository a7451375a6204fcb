"""How each driver of a database hands over a result piece by piece."""
