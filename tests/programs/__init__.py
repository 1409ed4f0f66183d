"""Programs as a user starts them: the command line, the standing cell, examples, documents, foreign cells."""
