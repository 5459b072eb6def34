"""How a function becomes a command: `commands` runs it, `parser` reads what is typed by its `signature`, as values of `kinds`."""
