"""How the shipped language models are trained: a synthetic prior over SGD problems, and the loop that fits to it."""
