"""How much, and whose turn: windows and budgets, fair shares of a lane, ids that are settled."""
