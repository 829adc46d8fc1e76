"""Generated clickstreams whose sessions, themes, hops and returns are known (model: our choice)."""
