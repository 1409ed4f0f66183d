"""The instruments of the house: figures that say how well its inner walls stand.

`python -m scripts.house` prints them all, `python -m scripts.house writes` one of them, and `--root` measures another
checkout with these instruments. Each module is one figure; its first lines say what is counted and what is not. What is
a law stands in the architecture test, which counts with these modules.

Two take their time and are run by themselves: `now` runs tests, `cost` compares two checkouts.
"""
