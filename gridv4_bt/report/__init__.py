"""What a person looks at: the page, the pictures, the tables of a terminal, runs side by side."""
