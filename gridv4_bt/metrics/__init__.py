"""What a run did, recorded bar by bar, and the figures that say how well."""
