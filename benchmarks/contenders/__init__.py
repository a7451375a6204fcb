"""Ways to send the orders: each module has a function ``send``, which returns how many it sent."""
