"""What a run says about itself: recorded bars and trades, metrics, files, plots."""
