"""The figures of arXiv 2408.01736 made again with the models at hand, one script a figure: see docs/paper.md."""
